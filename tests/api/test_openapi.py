"""The description at /openapi.json against the hub: whatever it allows a client to send, no answer is a crash."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from server import HubProcess, opened_hub

from headwater.core.types import Kind
from headwater.hub import repos
from headwater.hub.accounts import issue_token, owner_actor
from headwater.hub.commit import Add, commit

# They start work elsewhere: an import asks the network, a chat starts a worker, streams do not end.
ELSEWHERE = r"^/(v1/|api/headwater/(imports|jobs/.*events))"
# Where a request names a repo, this one is named half the time, or nearly all requests would end at "no such repo".
HERE = {"owner": "local", "name": "yi", "revision": "main", "branch": "main", "kinds": "models"}
ENDS = ("DELETE /api/repos/delete", "POST /api/repos/move", "POST /api/headwater/sign-out")
MORE = int(os.environ.get("HEADWATER_EXAMPLES", "1"))  # make soak asks many times as many
BUILT = {501, 507}  # a part of the Hub's API that is not built, and a full disk, are answers


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(URL of a hub with a model and a dataset local/yi, a token of its owner)."""
    data = tmp_path_factory.mktemp("openapi") / "data"
    data.mkdir()
    with opened_hub(data) as opened:
        owner = owner_actor(opened)
        for kind in Kind:
            repo = repos.create(opened, owner, kind, "local", "yi")
            commit(opened, owner, repo, "main", [Add("README.md", b"---\nlicense: mit\n---\n"), Add("sub/a", b"1")],
                   title="t")
        token, _ = issue_token(opened, owner, "fuzz")
    with HubProcess(data, sweep_every_s=0) as server:
        yield server.url, token


class Asking:
    """Asks operations with made-up requests and remembers which answers were crashes."""

    def __init__(self, headers: dict[str, str], examples: int):
        self.headers, self.examples = headers, examples
        self.crashed: dict[str, str] = {}
        self.asked = 0

    def ask(self, operation: Any) -> None:
        @settings(max_examples=self.examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def each(case: Any) -> None:
            self.send(case, operation.label)
            if operation.label not in ENDS:
                case.path_parameters = case.path_parameters | {k: v for k, v in HERE.items()
                                                               if k in case.path_parameters}
                self.send(case, operation.label)

        each()

    def send(self, case: Any, label: str) -> None:
        answer = case.call(headers=self.headers, timeout=20)
        self.asked += 1
        if answer.status_code >= 500 and answer.status_code not in BUILT:
            self.crashed[label] = f"{answer.status_code} {case.as_curl_command()[:600]}"
        if answer.status_code == 200:
            case.validate_response(answer, checks=[content_type_conformance, response_schema_conformance])


@pytest.mark.slow
@pytest.mark.parametrize(("who", "examples"), [("the owner", 3 * MORE), ("a stranger", MORE)])
def test_no_request_the_description_allows_crashes_the_hub(hub: tuple[str, str], who: str, examples: int) -> None:
    url, token = hub
    asking = Asking({"authorization": f"Bearer {token}"} if who == "the owner" else {"x-forwarded-for": "203.0.113.9"},
                    examples)
    described = schemathesis.openapi.from_url(url + "/openapi.json").exclude(path_regex=ELSEWHERE)
    for operation in described.get_all_operations():
        asking.ask(operation.ok())
    assert asking.crashed == {}
    assert asking.asked > 60 * examples


def test_every_route_says_what_it_belongs_to(hub: tuple[str, str]) -> None:
    paths = httpx.get(hub[0] + "/openapi.json").json()["paths"]
    assert [f"{verb} {path}" for path, verbs in paths.items() for verb, said in verbs.items()
            if not said.get("tags")] == []
    assert [path for path in paths if re.search(r"\{\w+:\w+\}", path)] == []
