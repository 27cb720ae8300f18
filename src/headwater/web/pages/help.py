"""Help: how to push, pull and talk; keyboard shortcuts; whose work is in these pages."""

from __future__ import annotations

import json
from functools import cache

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.web.site import ROOT, page

router = APIRouter()


@router.get("/help")
def help_page(request: Request) -> Response:
    return page(request, "help.html", vendored=_vendored())


@cache
def _vendored() -> list[tuple[str, str, str]]:
    """(package, version, licence) of the browser libraries shipped, each once."""
    rows = json.loads((ROOT / "static" / "vendor" / "lock.json").read_text("utf-8"))
    return sorted({(row["package"], row["version"], row["licence"]) for row in rows})
