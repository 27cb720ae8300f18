"""The commits of a revision, and what one commit changed."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from itertools import islice

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.core.types import Commit, Entry
from headwater.hub import Hub, browse
from headwater.hub.commit import looks_binary
from headwater.web.pages._repo import PlaceDep, refs, repo_page
from headwater.web.site import HubDep, segment

router = APIRouter()
PER_PAGE = 50
CHANGES_MAX = 300
DIFF_MAX = 100_000
DIFFS_MAX = 20
LINES_MAX = 400


@dataclass(frozen=True)
class Change:
    """before is None for a new file, after None for one that is gone. lines: a unified diff, when both are text."""

    path: str
    before: Entry | None
    after: Entry | None
    lines: tuple[str, ...] = ()


@router.get("/{owner}/{name}/commits/{revision}")
@router.get("/datasets/{owner}/{name}/commits/{revision}")
def history(request: Request, hub: HubDep, here: PlaceDep, p: int = 0) -> Response:
    first = max(0, min(p, 100_000)) * PER_PAGE
    commits = hub.history.log(here.repo, here.commit.oid, skip=first, limit=PER_PAGE + 1)
    branches, tags = refs(hub, here)
    return repo_page(request, "history.html", hub, here, "history", commits=commits[:PER_PAGE], p=p,
                     more=len(commits) > PER_PAGE, branches=branches, tags=tags, tab_path="commits",
                     total=hub.history.count(here.repo, here.commit.oid))


@router.get("/{owner}/{name}/commit/{revision}")
@router.get("/datasets/{owner}/{name}/commit/{revision}")
def commit(request: Request, hub: HubDep, here: PlaceDep, revision: str) -> Response:
    found = here.commit
    parent = hub.history.commit(here.repo, found.parents[0]) if found.parents else None
    changes = changes_between(hub, parent, found)
    return repo_page(request, "commit.html", hub, here, "history", commit=found, parent=parent,
                     changes=changes[:CHANGES_MAX], more=max(0, len(changes) - CHANGES_MAX), asked=segment(revision))


def changes_between(hub: Hub, before: Commit | None, after: Commit) -> list[Change]:
    """Files that differ, by path; the first few small texts with their lines."""
    old = {e.path: e for e in browse.files(hub, before)} if before else {}
    new = {e.path: e for e in browse.files(hub, after)}
    paths = sorted(p for p in old.keys() | new.keys() if _digest(old.get(p)) != _digest(new.get(p)))
    return [Change(p, old.get(p), new.get(p), _diff(hub, old.get(p), new.get(p)) if n < DIFFS_MAX else ())
            for n, p in enumerate(paths)]


def _digest(entry: Entry | None) -> str | None:
    return entry.digest if entry else None


def _diff(hub: Hub, before: Entry | None, after: Entry | None) -> tuple[str, ...]:
    texts = []
    for entry in (before, after):
        if entry is not None and entry.size > DIFF_MAX:
            return ()
        data = browse.read_small(hub, entry, DIFF_MAX) if entry else b""
        # difflib is quadratic in lines that repeat; a few thousand are quick.
        if looks_binary(data) or data.count(b"\n") > 3000:
            return ()
        texts.append(data.decode("utf-8", "replace").splitlines())
    return tuple(islice(difflib.unified_diff(*texts, lineterm="", n=3), 2, LINES_MAX + 2))
