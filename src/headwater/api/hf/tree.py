"""Look into a repo: trees, paths, commits, refs, LFS files."""

from __future__ import annotations

import base64
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request, Response

from headwater.api.deps import ActorDep, HubDep, base_url, segment
from headwater.api.hf.shapes import Kinds, commit_item, ref_item, tree_item, when
from headwater.core.errors import BadInput, NotBuilt
from headwater.core.types import Access, Commit, Entry, Repo
from headwater.hub import Hub, browse
from headwater.hub.access import find_repo
from headwater.hub.scan import by_path

router = APIRouter(tags=["hub: files"])
PAGE, EXPANDED_PAGE, COMMITS_PAGE = 1000, 50, 50
Text = Annotated[str | None, Query(max_length=2000)]


@router.get("/api/{kinds:kinds}/{owner}/{name}/tree/{revision}")
def tree(kinds: Kinds, owner: str, name: str, revision: str, request: Request, response: Response, hub: HubDep,
         actor: ActorDep, recursive: bool = False, expand: bool = False, cursor: Text = None,
         limit: Annotated[int | None, Query(ge=1)] = None) -> list[dict[str, Any]]:
    return tree_at(kinds, owner, name, revision, "", request, response, hub, actor, recursive, expand, cursor, limit)


@router.get("/api/{kinds:kinds}/{owner}/{name}/tree/{revision}/{path:path}")
def tree_at(kinds: Kinds, owner: str, name: str, revision: str, path: str, request: Request, response: Response,
            hub: HubDep, actor: ActorDep, recursive: bool = False, expand: bool = False, cursor: Text = None,
            limit: Annotated[int | None, Query(ge=1)] = None) -> list[dict[str, Any]]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}")
    commit = browse.resolve(hub, repo, segment(revision))
    entries = browse.listing(hub, commit, segment(path).strip("/"), recursive)
    start = _read_cursor(cursor)
    # The cursor counts entries of one revision, which never change: paging is stable under writes once the
    # revision is pinned, so the link pins it.
    size = min(limit or PAGE, EXPANDED_PAGE if expand else PAGE)
    page = entries[start : start + size]
    if start + size < len(entries):
        where = quote(segment(path).strip("/"))
        link = (f"{base_url(request)}/api/{kinds}/{repo.full_name}/tree/{commit.oid}" + (f"/{where}" if where else "")
                + f"?recursive={str(recursive).lower()}&expand={str(expand).lower()}"
                + f"&limit={size}&cursor={_write_cursor(start + size)}")
        response.headers["Link"] = f'<{link}>; rel="next"'
    return _items(hub, repo, commit, page, expand)


@router.post("/api/{kinds:kinds}/{owner}/{name}/paths-info/{revision}")
def paths_info(kinds: Kinds, owner: str, name: str, revision: str, hub: HubDep, actor: ActorDep,
               paths: Annotated[list[str], Form()], expand: Annotated[bool, Form()] = False) -> list[dict[str, Any]]:
    if len(paths) > 10_000:
        raise BadInput("At most 10,000 paths at once.")
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}")
    commit = browse.resolve(hub, repo, segment(revision))
    # The clients' contract: a path that is not there is left out.
    found = browse.entries(hub, commit, paths)
    return _items(hub, repo, commit, [found[path] for path in paths if path in found], expand)


@router.get("/api/{kinds:kinds}/{owner}/{name}/commits/{revision}")
def commits(kinds: Kinds, owner: str, name: str, revision: str, request: Request, response: Response, hub: HubDep,
            actor: ActorDep, expand: Annotated[list[str] | None, Query(alias="expand[]")] = None, p: int = 0,
            limit: Annotated[int, Query(ge=1)] = COMMITS_PAGE) -> list[dict[str, Any]]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}")
    head = browse.resolve(hub, repo, segment(revision))
    limit, p = min(limit, 1000), min(max(p, 0), 10**9)
    log = hub.history.log(repo, head.oid, skip=p * limit, limit=limit + 1)
    formatted = "formatted" in (expand or [])
    if len(log) > limit:
        link = (f"{base_url(request)}/api/{kinds}/{repo.full_name}/commits/{head.oid}?p={p + 1}&limit={limit}"
                + ("&expand[]=formatted" if formatted else ""))
        response.headers["Link"] = f'<{link}>; rel="next"'
    response.headers["X-Total-Count"] = str(hub.history.count(repo, head.oid))
    return [commit_item(c, formatted) for c in log[:limit]]


@router.get("/api/{kinds:kinds}/{owner}/{name}/refs")
def refs(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep,
         include_prs: bool = False) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}")
    found = hub.history.refs(repo)
    answer = {"branches": [ref_item(r) for r in found if r.name.startswith("refs/heads/")],
              "tags": [ref_item(r) for r in found if r.name.startswith("refs/tags/")], "converts": []}
    return {**answer, "pullRequests": []} if include_prs else answer


@router.get("/api/{kinds:kinds}/{owner}/{name}/lfs-files")
def lfs_files(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep) -> list[dict[str, Any]]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    return [{"fileOid": e.digest, "filename": e.path, "oid": e.digest, "size": e.size, "ref": ref,
             "pushedAt": when(commit.created_at if commit else repo.updated_at)}
            for e, commit, ref in browse.lfs_files(hub, repo)]


@router.post("/api/{kinds:kinds}/{owner}/{name}/lfs-files/batch")
def delete_lfs_files(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep) -> None:
    find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    raise NotBuilt("Deleting bytes out of history is not built: a revision always reads the same.",
                   hint="Delete the files in a commit, super-squash the branch, and the sweep frees the space.")


def _items(hub: Hub, repo: Repo, commit: Commit, entries: list[Entry], expand: bool) -> list[dict[str, Any]]:
    if not expand:
        return [tree_item(e) for e in entries]
    last = browse.last_commits(hub, repo, commit, entries)
    findings = by_path(hub, entries)
    return [tree_item(e, last.get(e.path), findings.get(e.path), expand=True) for e in entries]


def _write_cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).decode()


def _read_cursor(cursor: str | None) -> int:
    try:
        offset = int(base64.urlsafe_b64decode(cursor)) if cursor else 0
    except ValueError:
        offset = -1
    if offset < 0:
        raise BadInput("The cursor is not one this hub gave.")
    return offset
