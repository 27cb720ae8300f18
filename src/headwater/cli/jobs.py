"""`headwater jobs`"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from headwater.cli._common import Common, human, note, show_json, show_table, when


def list_(
    *,
    state: Annotated[Literal["queued", "running", "done", "failed", "cancelled"] | None,
                     Parameter(help="Only jobs in this state.")] = None,
    limit: Annotated[int, Parameter(help="At most so many.")] = 20,
    common: Common = Common(),
) -> None:
    """List jobs, newest first."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        jobs = door.get("/api/headwater/jobs", state=state, limit=limit)
    if common.json:
        show_json(jobs)
    else:
        show_table(["id", "job", "state", "how far", "began"], map(_row, jobs), "No jobs.")


def cancel(job: Annotated[str, Parameter(help="The id `headwater jobs list` shows.")], *,
           common: Common = Common()) -> None:
    """Cancel a job.

    One that waits is cancelled at once, one that runs at its next step.
    """
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        found = door.post(f"/api/headwater/jobs/{path_of(job)}/cancel")
    if common.json:
        show_json(found)
    elif found["state"] in ("done", "failed"):
        note(f"{found['title']} was {found['state']} already.")
    else:
        note(f"{found['title']} is cancelled.")


def _row(job: dict[str, Any]) -> tuple[Any, ...]:
    if job["state"] == "failed":
        far = job["error"] or ""
    elif job["state"] == "running" and job["total"]:
        shown = human(job["total"]) if job["unit"] == "bytes" else f"{job['total']:,} {job['unit']}"
        far = f"{100 * job['done'] // job['total']} % of {shown}"
    else:
        far = job["stage"] if job["state"] == "running" else ""
    return job["id"], job["title"], job["state"], far, when(job["started_at"] or job["created_at"])
