"""Where a model comes from and what came of it: the family, what was declared, what licences ask, what to do.

Asks trace; writes nothing but what its owner's button says.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import BadInput
from headwater.core.types import Access, Actor, Kind, Repo
from headwater.hub import Hub
from headwater.hub.access import find_repo
from headwater.hub.declare import declare_base
from headwater.trace import Trace
from headwater.trace.closed import beside
from headwater.trace.lineage import lineage_of, read_again
from headwater.web.pages._descent import operations, shown
from headwater.web.pages._repo import PlaceDep, place, repo_page
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, app_of, go

router = APIRouter()


@router.get("/{owner}/{name}/lineage")
@router.get("/{owner}/{name}/lineage/{revision}")
def descent(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep) -> Response:
    """htmx asks again while the weights are being read, and only for the panel."""
    app = app_of(request)
    found = shown(lineage_of(app.trace, who.actor, here.repo, here.commit.oid),
                  beside(app.closed, who.actor, here.repo), here.repo.updated_at)
    partial = request.headers.get("hx-target") == "lineage"
    answer = repo_page(request, "parts/lineage.html" if partial else "descent.html", hub, here, "lineage",
                       descent=found, done=lambda text: operations(who.words, text))
    closer = found.family.closer
    if partial and found.family.status.state == "read" and not (closer and closer.looking):
        answer.headers["HX-Refresh"] = "true"  # the drawing stands elsewhere on the page
    return answer


@router.post("/{owner}/{name}/lineage", dependencies=OWN_FORM)
def change(request: Request, hub: HubDep, who: VisitorDep, owner: str, name: str,
           do: Annotated[str, Form()]) -> Response:
    here = place(request, hub, who, owner, name)
    repo = find_repo(hub, who.actor, Kind.MODEL, here.repo.full_name, Access.WRITE)
    trace: Trace = app_of(request).trace
    if do == "read":
        read_again(trace, repo, here.commit.oid, by=who.actor.name)
    elif do == "declare":
        _declare(hub, trace, who.actor, repo, here.commit.oid)
    else:
        raise BadInput(f"There is nothing called {do[:40]!r} to do here.")
    return go(f"{here.url}/lineage")


def _declare(hub: Hub, trace: Trace, actor: Actor, repo: Repo, revision: str) -> None:
    # What is offered now, not what a form says was: it may have been read again meanwhile.
    offer = lineage_of(trace, actor, repo, revision).offer
    if offer is None:
        raise BadInput("The card says it already, or no parent is known.", hint="Reload the page.")
    declare_base(hub, actor, repo, offer["base_model"], offer["base_model_relation"])
