"""Who am I, who is that, what do they like."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from headwater.api.deps import ActorDep, HubDep
from headwater.api.hf.shapes import account_item, when
from headwater.core.errors import NotFound, NotSignedIn
from headwater.core.types import Access, Account, Actor, Kind, Repo, Search
from headwater.hub import Hub
from headwater.hub.access import access_to, need_scope

router = APIRouter(tags=["hub: accounts"])


@router.get("/api/whoami-v2")
def whoami(hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    if actor.account is None:
        raise NotSignedIn("Send a token to learn whose it is.", hint="HF_TOKEN=hf_…")
    orgs = [{**account_item(m.org), "roleInOrg": m.role.value, "isEnterprise": False}
            for m in hub.accounts.memberships(actor.account)]
    role = "write" if actor.scope.covers(Access.WRITE) else "read"
    return {**account_item(actor.account), "type": "user", "id": f"{actor.account.id:024x}",
            "email": actor.account.email, "emailVerified": False, "canPay": False, "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": {
                "displayName": actor.token_name or "local", "role": role, "createdAt": when(hub.now())}}}


@router.get("/api/users/{user}/overview")
def user_overview(user: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    account = _account(hub, user, is_org=False)
    orgs = [account_item(m.org) for m in hub.accounts.memberships(account)]
    return {**account_item(account), **_counts(hub, actor, account.name), "orgs": orgs,
            "numLikes": len(_liked(hub, actor, account.name)), "createdAt": when(account.created_at)}


@router.get("/api/organizations/{org}/overview")
def org_overview(org: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    account = _account(hub, org, is_org=True)
    return {**account_item(account), **_counts(hub, actor, account.name),
            "numUsers": len(hub.accounts.members(account)), "numFollowers": 0}


@router.get("/api/organizations/{org}/members")
def org_members(org: str, hub: HubDep, actor: ActorDep) -> list[dict[str, Any]]:
    need_scope(actor, Access.READ)
    return [account_item(m.user) for m in hub.accounts.members(_account(hub, org, is_org=True))]


@router.get("/api/users/{user}/likes")
def likes(user: str, hub: HubDep, actor: ActorDep) -> list[dict[str, Any]]:
    account = _account(hub, user, is_org=False)
    return [{"createdAt": when(repo.updated_at), "repo": {"name": repo.full_name, "type": repo.kind.value}}
            for repo in _liked(hub, actor, account.name)]


@router.get("/api/settings/repositories")
def my_repos(hub: HubDep, actor: ActorDep) -> list[dict[str, Any]]:
    return _storage(hub, actor, need_scope(actor, Access.READ).name)


@router.get("/api/organizations/{org}/settings/repositories")
def org_repos(org: str, hub: HubDep, actor: ActorDep) -> list[dict[str, Any]]:
    need_scope(actor, Access.READ)
    return _storage(hub, actor, _account(hub, org, is_org=True).name)


def _liked(hub: Hub, actor: Actor, name: str) -> list[Repo]:
    """What the account likes of what the actor may see."""
    return [repo for repo in hub.repos.liked_by(name) if access_to(hub, actor, repo).covers(Access.READ)]


def _storage(hub: Hub, actor: Actor, owner: str) -> list[dict[str, Any]]:
    return [{"id": repo.full_name, "type": repo.kind.value, "visibility": "private" if repo.private else "public",
             "storage": repo.size_bytes, "storagePercent": 0, "updatedAt": when(repo.updated_at)}
            for kind in Kind for repo in _all(hub, actor, kind, owner)]


def _all(hub: Hub, actor: Actor, kind: Kind, owner: str) -> list[Repo]:
    repos, cursor = [], None
    while True:
        page = hub.repos.search(Search(kind, actor, owner=owner, limit=1000, after=cursor))
        repos += page.repos
        if (cursor := page.next) is None:
            return repos


def _counts(hub: Hub, actor: Actor, owner: str) -> dict[str, int]:
    return {"numModels": len(_all(hub, actor, Kind.MODEL, owner)), "numSpaces": 0,
            "numDatasets": len(_all(hub, actor, Kind.DATASET, owner)), "numDiscussions": 0, "numPapers": 0,
            "numUpvotes": 0, "numFollowing": 0, "numFollowers": 0}


def _account(hub: Hub, name: str, *, is_org: bool) -> Account:
    found = hub.accounts.find(name)
    if found is None or found.is_org != is_org:
        raise NotFound(f"No {'organisation' if is_org else 'user'} {name!r} here.")
    return found
