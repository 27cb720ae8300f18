"""One file: its text in colour, or what it is when it is no text."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from headwater.core.errors import BadInput
from headwater.core.types import EntryKind
from headwater.hub import browse
from headwater.hub.commit import looks_binary
from headwater.hub.facts import header_of
from headwater.web import highlight
from headwater.web.pages._repo import PlaceDep, folders, repo_page
from headwater.web.pages.card import security
from headwater.web.site import HubDep, go, segment

router = APIRouter()
TEXT_MAX = 512_000
LINES_MAX = 10_000
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".avif", ".bmp")


@router.get("/{owner}/{name}/blob/{revision}/{path:path}")
@router.get("/datasets/{owner}/{name}/blob/{revision}/{path:path}")
def file(request: Request, hub: HubDep, here: PlaceDep, path: str) -> Response:
    path = segment(path)
    entry = browse.entry(hub, here.commit, path)
    if entry.kind is EntryKind.DIRECTORY:
        return go(f"{here.url}/tree/{here.at}/{path}")
    kind, lines, header, problem = "large", [], None, None
    if path.lower().endswith(PICTURES):
        kind = "picture"
    elif path.endswith((".safetensors", ".gguf")):
        kind = "weights"
        try:
            header = header_of(hub, entry)
        except BadInput as error:
            problem = error.message
    elif looks_binary(b"".join(browse.read(hub, entry, 0, min(entry.size, 8192)))):
        kind = "binary"
    elif entry.size <= TEXT_MAX:
        kind = "text"
        text = browse.read_small(hub, entry, TEXT_MAX).decode("utf-8", "replace")
        lines = [Markup(line) for line in highlight.lines(text, highlight.language_of(path))[:LINES_MAX]]
    changed = browse.last_commits(hub, here.repo, here.commit, [entry]).get(path)
    return repo_page(request, "file.html", hub, here, "files", entry=entry, trail=folders(path), view=kind,
                     lines=lines, header=header, problem=problem, changed=changed,
                     findings=security(hub, [entry]).findings)
