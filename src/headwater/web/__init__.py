"""The pages. `mount` puts them on the HTTP app; a page is one file of Python and one of HTML in pages/.

Pages ask the rooms and render; they decide nothing. docs/design/006-pages.md tells why they look as they do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request

from headwater.core.shelf import Shelf
from headwater.core.types import Actor
from headwater.web.site import Site, error_page
from headwater.web.static_files import static_files

PAGES: Shelf[APIRouter] = Shelf("headwater.web.pages", "router")


def mount(http: FastAPI, app: Any, actor_of: Callable[[Request], Actor]) -> None:
    """Serve the pages and their static files. Call it after every API router: '/{owner}/{name}' is a page.

    app: the composition root. actor_of: tells who asks, as the API does. Sets http.state.error_page.
    """
    http.state.pages = Site(app, actor_of)
    http.state.error_page = error_page
    http.mount("/static", static_files(), name="static")
    routers = list(PAGES)
    if PAGES.broken:
        raise RuntimeError(f"pages that do not import: {PAGES.broken}")
    for general in (False, True):
        for router in routers:
            http.include_router(_only(router, general), include_in_schema=False)


def _only(router: APIRouter, general: bool) -> APIRouter:
    """The routes of a page that begin with a parameter (general) or with a word: words are tried first."""
    part = APIRouter()
    part.routes.extend(r for r in router.routes if r.path.startswith("/{") is general)
    return part
