"""How every answer of a model says where it comes from: a `headwater` object in the body, and headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.api.parameters import shown
from headwater.chat.types import Origin


def origin_body(origin: Origin, warnings: Sequence[str]) -> dict[str, Any]:
    """With what was ignored of the request, and what else is to be known of the answer."""
    beside = {"adapters": list(origin.adapters)} if origin.adapters else {}
    return {"headwater": {"repo": origin.repo, "revision": origin.revision, "engine": origin.engine,
                          "build": origin.build, "file": origin.file, "seed": origin.seed, **beside,
                          **shown(warnings)}}


def origin_headers(origin: Origin) -> dict[str, str]:
    return {"X-Headwater-Revision": origin.revision, "X-Headwater-Engine": origin.engine,
            "X-Headwater-Build": origin.build}


def stream_headers(headers: dict[str, str], media_type: str = "text/event-stream") -> list[tuple[bytes, bytes]]:
    """Raw headers of a stream that nobody on the way may keep back."""
    # X-Accel-Buffering: nginx would else keep tokens back until its buffer is full
    every = {**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
             "Content-Type": f"{media_type}; charset=utf-8"}
    return [(name.lower().encode(), value.encode()) for name, value in every.items()]
