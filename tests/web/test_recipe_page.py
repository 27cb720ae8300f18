"""docs/recipes/add-a-page.md works as it is written: its two files are put on the shelf and served."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

import headwater.web
import headwater.web.pages
from headwater.api.deps import get_actor
from headwater.core.shelf import Shelf
from headwater.web import site

RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "add-a-page.md"


@pytest.fixture
def client(world, tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", RECIPE.read_text("utf-8"), re.S)[1]
    html = re.search(r"```html\n(.*?)```", RECIPE.read_text("utf-8"), re.S)[1]
    (tmp_path / "largest.py").write_text(code, "utf-8")
    (tmp_path / "largest.html").write_text(html, "utf-8")
    monkeypatch.setattr(headwater.web.pages, "__path__", [*headwater.web.pages.__path__, str(tmp_path)])
    monkeypatch.setattr(headwater.web, "PAGES", Shelf[APIRouter]("headwater.web.pages", "router"))
    site.environment.cache_clear()
    http = FastAPI()
    http.state.headwater = world.app
    headwater.web.mount(http, world.app, get_actor)
    with TestClient(http, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as made:
        yield made
    site.environment.cache_clear()
    sys.modules.pop("headwater.web.pages.largest", None)


def test_the_page_of_the_recipe_is_served_beside_the_others(client):
    answer = client.get("/settings/largest", headers={"accept-language": "en"})
    assert answer.status_code == 200
    assert "Largest models" in answer.text and "reader/</span>Streamlet-8K" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert client.get("/models").status_code == 200


def test_what_the_recipe_names_is_there():
    from headwater.hub.names import RESERVED_OWNERS
    from headwater.web.pages import _repo
    from headwater.web.site import OWN_FORM, go

    assert "settings" in RESERVED_OWNERS and OWN_FORM and go and _repo.PlaceDep
