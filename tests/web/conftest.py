"""A hub with sample repos and a real browser; tests that need the browser are skipped without it, and say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from web_world import World, served

from headwater.hub import accounts


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(tmp_path_factory.mktemp("web") / "data") as made:
        yield made


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same with a password set: it asks who one is."""
    with served(tmp_path_factory.mktemp("closed") / "data") as made:
        accounts.set_password(made.app.hub, made.owner, "reader", "under the bridge")
        accounts.create_user(made.app.hub, made.owner, "li", "eight characters")
        yield made


class Watched:
    """A page that remembers what must not happen: requests elsewhere, errors of scripts and of the policy."""

    def __init__(self, page: Any, url: str):
        self.page, self.url = page, url
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._request)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.elsewhere.append(request.url)

    def open(self, path: str) -> Any:
        answer = self.page.goto(self.url + path)
        self.page.wait_for_load_state("load")
        return answer

    def until(self, true: str, seconds: float = 15) -> None:
        """Waits for an expression. Playwright's own way evaluates text in the page, which our policy refuses."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(true):
            assert time.monotonic() < end, f"never came true: {true}"
            time.sleep(0.03)

    def assert_clean(self) -> None:
        assert self.elsewhere == []
        assert self.errors == []


@pytest.fixture
def visit(chromium: Any, world: World) -> Iterator[Any]:
    """visit(**context options) gives a Watched page in a fresh browser context."""
    contexts = []

    def start(url: str = world.url, **options: Any) -> Watched:
        context = chromium.new_context(**({"locale": "en-GB", "viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(15_000)
        contexts.append(context)
        return Watched(context.new_page(), url)

    yield start
    for context in contexts:
        context.close()
