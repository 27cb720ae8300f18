"""The files of a repo, folder by folder: sizes, marks of the scan, last change."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.core.types import EntryKind
from headwater.hub import browse
from headwater.hub.kept_as import kept_as
from headwater.web.pages._repo import PlaceDep, folders, refs, repo_page
from headwater.web.pages.card import security
from headwater.web.site import HubDep, VisitorDep, segment

router = APIRouter()
SHOWN = 1000
"""Entries of one folder shown; last changes are looked up only for these."""


@router.get("/{owner}/{name}/tree/{revision}")
@router.get("/{owner}/{name}/tree/{revision}/{path:path}")
@router.get("/datasets/{owner}/{name}/tree/{revision}")
@router.get("/datasets/{owner}/{name}/tree/{revision}/{path:path}")
def files(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep, path: str = "") -> Response:
    path = segment(path).strip("/")
    entries = browse.listing(hub, here.commit, path)
    entries.sort(key=lambda e: (e.kind is EntryKind.FILE, e.path.lower()))
    shown = entries[:SHOWN]
    branches, tags = refs(hub, here)
    levels = {f.path: f.level for f in security(hub, [e for e in shown if e.digest]).findings}
    return repo_page(request, "files.html", hub, here, "files", path=path, trail=folders(path), entries=shown,
                     more=len(entries) - len(shown), changed=browse.last_commits(hub, here.repo, here.commit, shown),
                     branches=branches, tags=tags, levels=levels, kept=kept_as(hub, who.actor, shown),
                     total=hub.history.count(here.repo, here.commit.oid))
