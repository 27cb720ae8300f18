"""Like a repo, or take it back. With htmx only the button comes back; its page is parts/like.html."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.types import Access
from headwater.hub.access import need_scope
from headwater.web.pages._repo import PlaceDep
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, go, page

router = APIRouter()


@router.post("/{owner}/{name}/like", dependencies=OWN_FORM)
@router.post("/datasets/{owner}/{name}/like", dependencies=OWN_FORM)
def like(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep,
         liked: Annotated[str, Form()] = "") -> Response:
    need_scope(who.actor, Access.WRITE)
    hub.repos.like(here.repo, bool(liked), by=who.actor)
    if "hx-request" not in request.headers:
        return go(here.url)
    fresh = hub.repos.get(here.repo.id) or here.repo
    return page(request, "parts/like.html", repo=fresh, place=here, liked=bool(liked))
