"""The first page: what is here, and how to begin when nothing is."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.core.types import Kind, Search
from headwater.web.lines import lines
from headwater.web.site import HubDep, VisitorDep, page

router = APIRouter()


@router.get("/")
def home(request: Request, hub: HubDep, who: VisitorDep) -> Response:
    models = hub.repos.search(Search(Kind.MODEL, who.actor, limit=8)).repos
    datasets = hub.repos.search(Search(Kind.DATASET, who.actor, limit=4)).repos
    return page(request, "home.html", models=models, datasets=datasets,
                lines=lines(hub, models, datasets))
