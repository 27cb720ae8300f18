"""Is it alive, and what is it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from headwater import __version__
from headwater.api.deps import HubDep

router = APIRouter(tags=["headwater"])


@router.get("/healthz")
def healthz(hub: HubDep) -> dict[str, Any]:
    """200 when the database answers; says nothing about who uses the hub."""
    hub.accounts.count()
    return {"ok": True, "version": __version__}
