"""Start a job on the hub and see it to its end."""

from __future__ import annotations

from typing import Any

from headwater.cli._common import note
from headwater.cli._hub import Door
from headwater.cli._progress import Bar, follow
from headwater.core.errors import HeadwaterError


class JobFailed(HeadwaterError):
    status, code = 500, "JobFailed"


def see_through(door: Door, job: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The job's result. Raises JobFailed with the job's own words. Ctrl-C leaves the job to the hub."""
    path = f"/api/headwater/jobs/{job['id']}"
    try:
        with Bar(job["title"], quiet=quiet) as bar:
            done = follow(lambda: door.get(path), bar)
    except KeyboardInterrupt:
        where = "goes on at the hub" if not door.here else "goes on when the hub is next started"
        note(f"\nThe job {where}; `headwater jobs cancel {job['id']}` ends it.")
        raise
    if done["state"] == "failed":
        raise JobFailed(done["error"] or "The job failed.")
    if done["state"] == "cancelled":
        raise JobFailed("The job was cancelled.")
    return done["result"] or {}
