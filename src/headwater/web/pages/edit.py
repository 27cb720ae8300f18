"""Write one text file in the browser: above all the card."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import BadInput, EntryNotFound
from headwater.core.types import Access, EntryKind
from headwater.hub import browse
from headwater.hub.access import find_repo
from headwater.hub.commit import Add, commit, looks_binary
from headwater.hub.names import check_path
from headwater.web.pages._repo import PlaceDep, folders, repo_page
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, go, segment

router = APIRouter()
TEXT_MAX = 512_000


@router.get("/{owner}/{name}/edit/{revision}/{path:path}")
@router.get("/datasets/{owner}/{name}/edit/{revision}/{path:path}")
def edit(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep, path: str) -> Response:
    path = check_path(segment(path))
    find_repo(hub, who.actor, here.repo.kind, here.repo.full_name, Access.WRITE)
    try:
        entry = browse.entry(hub, here.commit, path)
    except EntryNotFound:
        text = f"# {here.repo.name}\n" if path == "README.md" else ""
    else:
        if entry.kind is EntryKind.DIRECTORY:
            raise BadInput(f"{path!r} is a folder.", hint="Open a file in it.")
        data = browse.read_small(hub, entry, TEXT_MAX)
        if looks_binary(data):
            raise BadInput(f"{path!r} is not text.", hint="Upload a new version of it instead.")
        text = data.decode("utf-8", "replace")
    return repo_page(request, "edit.html", hub, here, "files", path=path, trail=folders(path), text=text)


@router.post("/{owner}/{name}/edit/{revision}/{path:path}", dependencies=OWN_FORM)
@router.post("/datasets/{owner}/{name}/edit/{revision}/{path:path}", dependencies=OWN_FORM)
def save(hub: HubDep, who: VisitorDep, here: PlaceDep, path: str, text: Annotated[str, Form()] = "",
         title: Annotated[str, Form()] = "", parent: Annotated[str, Form()] = "") -> Response:
    path = check_path(segment(path))
    repo = find_repo(hub, who.actor, here.repo.kind, here.repo.full_name, Access.WRITE)
    # Browsers send CRLF; files here have the newlines people typed.
    content = text.replace("\r\n", "\n").encode("utf-8")
    commit(hub, who.actor, repo, here.revision, [Add(path, content=content)],
           title=title.strip()[:200] or f"Update {path}", parent=parent or None)
    return go(here.url if path == "README.md" and here.is_main else f"{here.url}/blob/{here.at}/{path}")
