"""Long work over HTTP: what runs, how far it is, and stop it. One sees one's own jobs; an administrator sees all."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from headwater.api.deps import ActorDep, HubDep
from headwater.core.errors import NotFound
from headwater.core.types import Access, Actor, Job, JobState
from headwater.hub import Hub
from headwater.hub.access import need_scope

router = APIRouter(prefix="/api/headwater/jobs", tags=["headwater: jobs"])


class JobShown(BaseModel):
    """Times are seconds since 1970. done and total count in `unit`; total is null while it is not known."""

    id: str
    kind: str
    title: str
    state: JobState
    stage: str
    done: int
    total: int | None
    unit: str
    result: dict[str, Any] | None
    error: str | None
    actor: str
    attempts: int
    created_at: float
    started_at: float | None
    finished_at: float | None


def shown(job: Job) -> JobShown:
    """A job as its reader may see it: without the payload, which names accounts and tokens by number."""
    return JobShown(**{name: value for name, value in asdict(job).items() if name in JobShown.model_fields})


@router.get("")
def list_jobs(hub: HubDep, actor: ActorDep, state: JobState | None = None,
              kind: Annotated[str | None, Query(max_length=50)] = None,
              limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[JobShown]:
    """Newest first."""
    need_scope(actor, Access.READ)
    # The newest are few enough to look through: finished ones are forgotten past the 2,000th.
    jobs = hub.jobs.list(state=state.value if state else None, kind=kind, limit=limit if actor.is_admin else 5_000)
    return [shown(job) for job in jobs if _may_see(actor, job)][:limit]


@router.get("/{job_id}")
def get_job(job_id: str, hub: HubDep, actor: ActorDep) -> JobShown:
    return shown(_find(hub, actor, job_id))


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, hub: HubDep, actor: ActorDep) -> JobShown:
    """A queued job is cancelled at once, a running one at its next step; a finished one stays as it is."""
    need_scope(actor, Access.WRITE)
    job = _find(hub, actor, job_id)
    return shown(hub.jobs.cancel(job.id) or job)


def _find(hub: Hub, actor: Actor, job_id: str) -> Job:
    need_scope(actor, Access.READ)
    job = hub.jobs.get(job_id) if job_id.isalnum() else None
    if job is None or not _may_see(actor, job):
        raise NotFound(f"There is no job {job_id[:60]!r}.", hint="GET /api/headwater/jobs lists yours.")
    return job


def _may_see(actor: Actor, job: Job) -> bool:
    # A token made for some repos alone is not for looking at everything its account does.
    return actor.is_admin or (job.actor == actor.name and actor.account is not None and actor.repos is None)
