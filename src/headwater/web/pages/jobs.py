"""Long work: what runs, how far it is, and stopping it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.core.errors import Forbidden, NotFound
from headwater.core.types import Access, Actor, Job
from headwater.hub import Hub
from headwater.hub.access import need_scope
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, go, page, segment

router = APIRouter()
SHOWN = 60


@router.get("/jobs")
def jobs(request: Request, hub: HubDep, who: VisitorDep) -> Response:
    """htmx asks again every second while something runs, and only for the list."""
    return _page(request, hub, who.actor, "parts/jobs.html" if "hx-request" in request.headers else "jobs.html")


@router.post("/jobs/{job}/cancel", dependencies=OWN_FORM)
def cancel(request: Request, hub: HubDep, who: VisitorDep, job: str) -> Response:
    need_scope(who.actor, Access.WRITE)
    found = hub.jobs.get(segment(job))
    if found is None or not _sees(who.actor, found):
        raise NotFound("No such job.")
    if not (who.actor.is_admin or found.actor == who.actor.name):
        raise Forbidden("Only who started a job, or an administrator, may cancel it.")
    hub.jobs.cancel(found.id)
    return _page(request, hub, who.actor, "parts/jobs.html") if "hx-request" in request.headers else go("/jobs")


def _page(request: Request, hub: Hub, actor: Actor, template: str) -> Response:
    seen = [job for job in hub.jobs.list(limit=SHOWN * 4) if _sees(actor, job)]
    going = [job for job in seen if not job.state.final]
    done = [job for job in seen if job.state.final][:SHOWN]
    data: dict[str, Any] = {"going": going, "done": done}
    return page(request, template, **data)


def _sees(actor: Actor, job: Job) -> bool:
    """Titles name repos, which may be private: a job is seen by who started it, and by administrators."""
    return actor.is_admin or (actor.account is not None and job.actor == actor.name)
