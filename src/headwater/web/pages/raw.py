"""A text file as it is, to read in the browser and nothing more: plain text in a sandbox, whatever its name."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from headwater.core.errors import Unprocessable
from headwater.hub import browse
from headwater.hub.commit import looks_binary
from headwater.web.pages._repo import PlaceDep
from headwater.web.site import HubDep, segment

router = APIRouter()
TEXT_MAX = 5_000_000


@router.get("/{owner}/{name}/raw/{revision}/{path:path}")
@router.get("/datasets/{owner}/{name}/raw/{revision}/{path:path}")
def raw(hub: HubDep, here: PlaceDep, path: str) -> Response:
    entry = browse.file(hub, here.commit, segment(path))
    if looks_binary(b"".join(browse.read(hub, entry, 0, min(entry.size, 8192)))):
        raise Unprocessable(f"{entry.path} is not text.", hint="Download it instead.")
    return Response(browse.read_small(hub, entry, TEXT_MAX), media_type="text/plain; charset=utf-8", headers={
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "private, no-cache"})
