"""What Kling's API answers: a task, a list, an error. Its word for a task that is done is `succeed`.

A video's address needs no key, as programs expect: it is signed, and holds for thirty days.
"""

from __future__ import annotations

import secrets
from typing import Any

from fastapi.responses import JSONResponse, Response

from headwater.core.errors import HeadwaterError
from headwater.core.types import KeptFilm
from headwater.hub import Hub
from headwater.hub.signing import sign

LINK_S = 30 * 86_400
PURPOSE = "film"
STATES = {"queued": "submitted", "running": "processing", "done": "succeed", "failed": "failed", "cancelled": "failed"}
CODES = {400: 1201, 401: 1000, 403: 1103, 404: 1203, 409: 1201, 413: 1201, 429: 1303, 501: 1201, 503: 5001}


def wrapped(data: Any) -> Response:
    return JSONResponse({"code": 0, "message": "SUCCEED", "request_id": secrets.token_hex(16), "data": data})


def refused(error: HeadwaterError) -> Response:
    headers = {"Retry-After": str(getattr(error, "retry_after", 30))} if error.status == 429 else {}
    return JSONResponse({"code": CODES.get(error.status, 5000), "message": str(error),
                         "request_id": secrets.token_hex(16)}, error.status, headers)


def ordered(kept: KeptFilm) -> dict[str, Any]:
    return {"task_id": kept.id, "task_info": _named(kept), "task_status": STATES[kept.state],
            "created_at": _ms(kept.created_at), "updated_at": _ms(kept.finished_at or kept.created_at)}


def task(hub: Hub, kept: KeptFilm, base: str) -> dict[str, Any]:
    """base: how this hub is reached, without a trailing slash."""
    why = (kept.error or "The film was cancelled.") if kept.state in ("failed", "cancelled") else ""
    videos = []
    if kept.state == "done" and kept.video:
        ticket = sign(hub, PURPOSE, {"film": kept.id}, LINK_S)
        made = kept.receipt or {}
        seconds = made["frames"] / made["fps"] if made.get("fps") else kept.asked["seconds"]
        videos = [{"id": kept.id, "url": f"{base}/v1/videos/signed/{ticket}", "duration": f"{seconds:g}"}]
    return {**ordered(kept), "task_status_msg": why, "task_result": {"videos": videos},
            "headwater": {"engine": kept.asked["engine"], "seed": kept.asked["seed"], "notes": kept.asked["notes"]}}


def _named(kept: KeptFilm) -> dict[str, Any]:
    return {"external_task_id": kept.external_id} if kept.external_id else {}


def _ms(at: float) -> int:
    return int(at * 1000)
