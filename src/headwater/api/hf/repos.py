"""Create, delete, rename, duplicate, settle; branches, tags, likes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel

from headwater.api.deps import ActorDep, HubDep, base_url, segment
from headwater.api.hf.shapes import Kinds, account_item, kind_of, repo_url
from headwater.core.errors import BadInput, NotBuilt, RepoExists, RevisionNotFound
from headwater.core.types import Access, Kind
from headwater.hub import Hub, commit, repos
from headwater.hub.access import find_repo, need_scope
from headwater.hub.names import branch_ref, split_full_name, tag_ref

router = APIRouter(tags=["hub: repos"])


class RepoBody(BaseModel):
    """How clients name a repo in a body. private is what older clients send, visibility what newer ones do."""

    name: str
    organization: str | None = None
    type: str | None = None
    private: bool | None = None
    visibility: str | None = None


class MoveBody(BaseModel):
    fromRepo: str
    toRepo: str
    type: str | None = None


class SettingsBody(BaseModel):
    private: bool | None = None
    visibility: str | None = None
    gated: str | bool | None = None


class DuplicateBody(BaseModel):
    repository: str
    private: bool | None = None
    visibility: str | None = None


@router.post("/api/repos/create")
def create(body: RepoBody, request: Request, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    account = need_scope(actor, Access.WRITE)
    owner, name = body.organization or account.name, body.name
    if "/" in name:
        owner, name = split_full_name(name)
    try:
        repo = repos.create(hub, actor, _kind(body.type), owner, name,
                            private=bool(_private(body.private, body.visibility)))
    except RepoExists as error:
        # The client with exist_ok=True reads the repo's address from a conflict's body.
        raise RepoExistsAt(str(error), url=_address(request, _kind(body.type), owner, name)) from None
    return {"url": repo_url(base_url(request), repo), "name": repo.full_name, "id": f"{repo.id:024x}"}


@router.delete("/api/repos/delete")
def delete(body: Annotated[RepoBody, Body()], hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    account = need_scope(actor, Access.WRITE)
    full = body.name if "/" in body.name else f"{body.organization or account.name}/{body.name}"
    repo = find_repo(hub, actor, _kind(body.type), full, Access.ADMIN)
    hub.repos.delete(repo, by=actor)
    return {}


@router.post("/api/repos/move")
def move(body: MoveBody, request: Request, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    repo = find_repo(hub, actor, _kind(body.type), body.fromRepo, Access.ADMIN)
    moved = repos.move(hub, actor, repo, *split_full_name(body.toRepo))
    return {"url": repo_url(base_url(request), moved)}


@router.put("/api/{kinds:kinds}/{owner}/{name}/settings")
def settle(kinds: Kinds, owner: str, name: str, body: SettingsBody, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.ADMIN)
    if body.gated:
        raise NotBuilt("Gated access is not built: a repo here is public or private.",
                       hint="Make it private and give people a role.")
    private = _private(body.private, body.visibility)
    if private is not None:
        repo = hub.repos.set_private(repo, private, by=actor)
    return {"private": repo.private, "visibility": "private" if repo.private else "public", "gated": False}


@router.post("/api/{kinds:kinds}/{owner}/{name}/duplicate")
def duplicate(kinds: Kinds, owner: str, name: str, body: DuplicateBody, request: Request, hub: HubDep,
              actor: ActorDep) -> dict[str, Any]:
    source = find_repo(hub, actor, kinds.kind, f"{owner}/{name}")
    new_owner, new_name = split_full_name(body.repository)
    try:
        copy = repos.duplicate(hub, actor, source, new_owner, new_name, private=_private(body.private, body.visibility))
    except RepoExists as error:
        raise RepoExistsAt(str(error), url=_address(request, kinds.kind, new_owner, new_name)) from None
    return {"url": repo_url(base_url(request), copy), "name": copy.full_name, "filesCopyPending": False}


@router.get("/api/{kinds:kinds}/{owner}/{name}/auth-check")
def auth_check(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    find_repo(hub, actor, kinds.kind, f"{owner}/{name}")
    return {}


@router.get("/api/{kinds:kinds}/{owner}/{name}/auth-check/write")
def auth_check_write(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    return {}


@router.post("/api/{kinds:kinds}/{owner}/{name}/branch/{branch}")
def create_branch(kinds: Kinds, owner: str, name: str, branch: str, hub: HubDep, actor: ActorDep,
                  body: Annotated[dict | None, Body()] = None) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    body = body or {}
    ref = repos.create_branch(hub, actor, repo, segment(branch), str(body.get("startingPoint") or "main"),
                              empty=bool(body.get("emptyBranch")))
    return {"ref": ref.name, "targetCommit": ref.commit}


@router.delete("/api/{kinds:kinds}/{owner}/{name}/branch/{branch}")
def delete_branch(kinds: Kinds, owner: str, name: str, branch: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    branch = segment(branch)
    if branch == "main":
        raise BadInput("The branch main cannot be deleted.", hint="Delete the repo, or squash the branch.")
    if not hub.history.remove(repo, branch_ref(branch), by=actor):
        raise RevisionNotFound(f"{repo.full_name} has no branch {branch!r}.")
    return {}


@router.post("/api/{kinds:kinds}/{owner}/{name}/tag/{revision}")
def create_tag(kinds: Kinds, owner: str, name: str, revision: str, body: dict, hub: HubDep,
               actor: ActorDep) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    if not isinstance(body.get("tag"), str):
        raise BadInput("The body must name the tag: {\"tag\": \"v1\"}.")
    message = body.get("message")
    ref = repos.create_tag(hub, actor, repo, body["tag"], segment(revision), str(message) if message else None)
    return {"ref": ref.name, "targetCommit": ref.commit}


@router.delete("/api/{kinds:kinds}/{owner}/{name}/tag/{tag}")
def delete_tag(kinds: Kinds, owner: str, name: str, tag: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    if not hub.history.remove(repo, tag_ref(segment(tag)), by=actor):
        raise RevisionNotFound(f"{repo.full_name} has no tag {segment(tag)!r}.")
    return {}


@router.post("/api/{kinds:kinds}/{owner}/{name}/super-squash/{branch}")
def super_squash(kinds: Kinds, owner: str, name: str, branch: str, hub: HubDep, actor: ActorDep,
                 body: Annotated[dict | None, Body()] = None) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    title = str((body or {}).get("message") or f"Super-squash branch '{segment(branch)}'")
    return {"commitOid": commit.squash(hub, actor, repo, segment(branch), title[:500]).oid}


@router.post("/api/{kinds:kinds}/{owner}/{name}/like")
def like(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    return _like(hub, actor, kinds, f"{owner}/{name}", True)


@router.delete("/api/{kinds:kinds}/{owner}/{name}/like")
def unlike(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    return _like(hub, actor, kinds, f"{owner}/{name}", False)


@router.get("/api/{kinds:kinds}/{owner}/{name}/likers")
def likers(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep) -> list[dict[str, Any]]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}")
    accounts = [hub.accounts.find(user) for user in hub.repos.likers(repo)]
    return [account_item(account) for account in accounts if account]


class RepoExistsAt(RepoExists):
    """A conflict that says where the repo that exists is."""

    def __init__(self, message: str, *, url: str):
        super().__init__(message)
        self.url = url


def _like(hub: Hub, actor: ActorDep, kinds: Kinds, full_name: str, liked: bool) -> dict[str, Any]:
    need_scope(actor, Access.WRITE)
    hub.repos.like(find_repo(hub, actor, kinds.kind, full_name), liked, by=actor)
    return {"liked": liked}


def _kind(text: str | None) -> Kind:
    kind = kind_of(text)
    if kind is None:
        raise NotBuilt(f"Headwater keeps models and datasets, not a {text!r}.")
    return kind


def _private(private: bool | None, visibility: str | None) -> bool | None:
    """Whether private was asked for; None if nothing was said."""
    if visibility is None:
        return private
    if visibility not in ("public", "private"):
        raise NotBuilt(f"The visibility {visibility[:50]!r} is not built.", hint="Use public or private.")
    return visibility == "private"


def _address(request: Request, kind: Kind, owner: str, name: str) -> str:
    return f"{base_url(request)}/{'datasets/' if kind is Kind.DATASET else ''}{owner}/{name}"


