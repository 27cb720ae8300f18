"""The lists of models and of datasets: search, filter by tag, sort, page by page."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from headwater.core.types import Actor, Kind, Search
from headwater.hub import Hub
from headwater.web.cards import Facet, facets
from headwater.web.lines import lines
from headwater.web.site import HubDep, VisitorDep, page

router = APIRouter()
PER_PAGE = 30
SORTS = {"updated": True, "created": True, "downloads": True, "likes": True, "size": True, "name": False}
_TALLY_S = 20
_tallies: dict[Any, tuple[float, list[tuple[str, int]]]] = {}


@router.get("/models")
@router.get("/datasets")
def models(request: Request, hub: HubDep, who: VisitorDep, q: str = "", tag: Annotated[list[str], Query()] = [],  # noqa: B006
           sort: str = "updated", after: str | None = None, owner: str | None = None) -> Response:
    kind = Kind.DATASET if request.url.path.startswith("/datasets") else Kind.MODEL
    tags = tuple(dict.fromkeys(t for t in tag if t))[:10]
    sort = sort if sort in SORTS else "updated"
    found = hub.repos.search(Search(kind, who.actor, text=q.strip()[:200] or None, owner=owner or None, tags=tags,
                                    sort=sort, descending=SORTS[sort], limit=PER_PAGE, after=after or None))
    asked = {"q": q.strip(), "owner": owner or "", "sort": sort if sort != "updated" else ""}

    def address(tags: tuple[str, ...] = tags, **more: str) -> str:
        pairs = [(k, v) for k, v in (asked | more).items() if v] + [("tag", t) for t in tags]
        return f"/{kind}s" + (f"?{urlencode(pairs)}" if pairs else "")

    partial = request.headers.get("hx-target") == "found"
    return page(request, "parts/found.html" if partial else "models.html", kind=kind, q=q.strip(), tags=tags,
                sort=sort, sorts=list(SORTS), found=found, lines=lines(hub, found.repos), address=address,
                owner=owner, after=after,
                facets=[] if partial else _facets(hub, kind, who.actor))


def _facets(hub: Hub, kind: Kind, actor: Actor) -> list[Facet]:
    """The filter column; counted at most every few seconds for each viewer, for counting walks all the tags."""
    key = (id(hub), kind, actor.account.id if actor.account else None, actor.repos)
    at, counted = _tallies.get(key, (0.0, []))
    if time.monotonic() - at > _TALLY_S or not counted:
        counted = hub.repos.tags(kind, actor)
        if len(_tallies) > 200:
            _tallies.clear()
        _tallies[key] = (time.monotonic(), counted)
    return facets(counted)
