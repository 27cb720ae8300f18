"""Headwater's own API under /api/headwater: a shelf, one file a thing, each with its `router`."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.core.shelf import Shelf

ROUTERS: Shelf[APIRouter] = Shelf("headwater.api.own", "router")


def routers() -> list[APIRouter]:
    """Every router on the shelf. Raises RuntimeError for a broken file: a part of the API must not be lost unseen."""
    found = list(ROUTERS)
    if ROUTERS.broken:
        raise RuntimeError(f"api/own is broken: {ROUTERS.broken}")
    return found
