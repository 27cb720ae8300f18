"""The download door: plain ranged HTTP for every file of every revision."""

from __future__ import annotations

import logging
import mimetypes
import re
from collections.abc import Iterator
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from headwater.api.deps import ActorDep, HubDep, segment
from headwater.api.hf.shapes import Kinds
from headwater.core.errors import BadRange, HeadwaterError
from headwater.core.types import Actor, Commit, Entry, Kind, Repo
from headwater.hub import Hub, browse
from headwater.hub.access import find_repo

log = logging.getLogger("headwater.http")
router = APIRouter(tags=["hub: download"])
# Shown by a browser where they stand; anything else a stranger uploaded is only ever downloaded.
INLINE = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"}
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})\Z")


@router.get("/{owner}/{name}/resolve/{revision}/{path:path}")
@router.head("/{owner}/{name}/resolve/{revision}/{path:path}", include_in_schema=False)
def resolve_model(owner: str, name: str, revision: str, path: str, request: Request, hub: HubDep,
                  actor: ActorDep) -> Response:
    return _resolve(Kind.MODEL, f"{owner}/{name}", segment(revision), segment(path), request, hub, actor)


@router.get("/{kinds:kinds}/{owner}/{name}/resolve/{revision}/{path:path}")
@router.head("/{kinds:kinds}/{owner}/{name}/resolve/{revision}/{path:path}", include_in_schema=False)
def resolve_any(kinds: Kinds, owner: str, name: str, revision: str, path: str, request: Request, hub: HubDep,
                actor: ActorDep) -> Response:
    return _resolve(kinds.kind, f"{owner}/{name}", segment(revision), segment(path), request, hub, actor)


def _resolve(kind: Kind, full_name: str, revision: str, path: str, request: Request, hub: Hub,
             actor: Actor) -> Response:
    repo = find_repo(hub, actor, kind, full_name)
    commit = browse.resolve(hub, repo, revision)
    entry = browse.file(hub, commit, path)
    headers = _headers(entry, commit)
    if _knows(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    start, stop = _range(request, entry.size, headers["ETag"])
    part = (start, stop) != (0, entry.size)
    headers["Content-Length"] = str(stop - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{entry.size}"
    if request.method == "HEAD":
        return Response(status_code=206 if part else 200, headers=headers)
    if _counts(path, start):
        _count(hub, repo)
    return StreamingResponse(_bytes(hub, entry, start, stop), 206 if part else 200, headers)


def _counts(path: str, start: int) -> bool:
    """Whether this file stands for a download of the model: one that every loader reads once, as on the Hub."""
    return start == 0 and (path in ("config.json", "model_index.json", "adapter_config.json") or path.endswith(".gguf"))


def _count(hub: Hub, repo: Repo) -> None:
    try:
        hub.repos.downloaded(repo)
    except HeadwaterError as error:  # a full disk or a busy database is no reason to refuse reading
        log.warning("a download of %s was not counted: %s", repo.full_name, error)


def _bytes(hub: Hub, entry: Entry, start: int, stop: int) -> Iterator[bytes]:
    return browse.read(hub, entry, start, stop) if stop > start else iter(())


def _headers(entry: Entry, commit: Commit) -> dict[str, str]:
    kind = mimetypes.guess_type(entry.path)[0] or "application/octet-stream"
    shown = kind in INLINE
    name = quote(entry.path.rsplit("/", 1)[-1])
    headers = {
        "X-Repo-Commit": commit.oid,
        "ETag": f'"{entry.digest if entry.lfs else entry.oid}"',
        "Accept-Ranges": "bytes",
        "Content-Type": kind if shown else "text/plain; charset=utf-8" if kind.startswith("text/")
        or kind == "application/json" else "application/octet-stream",
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        # A revision never changes, but a branch does, and a repo may become private.
        "Cache-Control": "private, no-cache",
    }
    if entry.lfs:
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-Etag": f'"{entry.digest}"'}
    return headers


def _knows(if_none_match: str, etag: str) -> bool:
    """Whether the client has these bytes: If-None-Match is a list of tags, perhaps weak, or '*' (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def _range(request: Request, size: int, etag: str) -> tuple[int, int]:
    """[start, stop) asked for. Several ranges, or a form we do not know, answer the whole, as RFC 9110 allows.

    Raises BadRange (416) for one that begins past the end.
    """
    match = _RANGE.match(request.headers.get("range", ""))
    if match is None or match.groups() == ("", "") or request.headers.get("if-range", etag) != etag:
        return 0, size
    first, last = match.groups()
    if first == "":
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if start >= size or (last and first and int(last) < start) or stop <= start:
        raise BadRange(f"The file has {size:,} bytes; {request.headers['range'][:80]} is outside.", size=size)
    return start, stop
