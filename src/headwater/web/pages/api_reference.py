"""The routes for programs, from the OpenAPI this hub gives at /openapi.json: read here without loading anything."""

from __future__ import annotations

from collections import defaultdict

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.web.site import page

router = APIRouter()


@router.get("/docs")
def api_reference(request: Request) -> Response:
    groups: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for path, verbs in request.app.openapi().get("paths", {}).items():
        for verb, said in verbs.items():
            text = (said.get("description") or said.get("summary") or "").strip().split("\n\n")[0]
            groups[next(iter(said.get("tags", ())), "")].append((verb.upper(), path, " ".join(text.split())))
    return page(request, "api_reference.html", groups=sorted(groups.items()))
