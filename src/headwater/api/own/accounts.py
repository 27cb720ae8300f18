"""Sessions, tokens, users, organisations, and the audit log, under /api/headwater. Thin over hub/accounts.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from headwater.api.deps import SESSION_COOKIE, ActorDep, HubDep, base_url, segment
from headwater.core.errors import NotFound
from headwater.core.types import Access, Account, Actor, Kind, Token
from headwater.hub import Hub
from headwater.hub.access import find_repo, need_admin, need_scope, role_in
from headwater.hub.accounts import (
    SESSION_PREFIX,
    SESSION_S,
    create_org,
    create_user,
    delete_account,
    issue_token,
    set_password,
    set_role,
    sign_in,
    sign_out,
)

router = APIRouter(prefix="/api/headwater", tags=["headwater: accounts"])

Name = Annotated[str, Field(min_length=1, max_length=96)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]


class SignIn(BaseModel):
    name: Name
    password: Password


class NewToken(BaseModel):
    """repos: "owner/name", or "datasets/owner/name", of the only repos it opens; null for all the account can reach.
    days: null means it does not expire. user: whose token; only an administrator makes others'."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scope: Literal["read", "write"] = "write"
    repos: Annotated[list[str], Field(max_length=1000)] | None = None
    days: Annotated[float, Field(gt=0, le=36500)] | None = None
    user: Name | None = None


class NewUser(BaseModel):
    """password null: the user cannot sign in, only use tokens an administrator makes."""

    name: Name
    password: Password | None = None
    fullname: Annotated[str, Field(max_length=200)] = ""
    email: Annotated[str, Field(max_length=200)] | None = None
    admin: bool = False


class NewPassword(BaseModel):
    password: Password


class NewOrg(BaseModel):
    name: Name
    fullname: Annotated[str, Field(max_length=200)] = ""


class Role(BaseModel):
    """none takes the membership away."""

    role: Access


# --- sessions


@router.post("/session")
def start_session(body: SignIn, request: Request, hub: HubDep) -> Response:
    """Sign in with name and password. The session is a cookie scripts cannot read; 429 after too many wrong tries."""
    address = request.client.host if request.client else ""
    secret = sign_in(hub, body.name, body.password, address=address)
    answer = JSONResponse({"name": hub.accounts.find(body.name).name, "seconds": SESSION_S},
                          headers={"Cache-Control": "no-store"})
    answer.set_cookie(SESSION_COOKIE, secret, max_age=SESSION_S, httponly=True, samesite="lax",
                      secure=base_url(request).startswith("https://"))
    return answer


@router.delete("/session")
def end_session(hub: HubDep, actor: ActorDep) -> Response:
    sign_out(hub, actor)
    answer = JSONResponse({"ok": True})
    answer.delete_cookie(SESSION_COOKIE)
    return answer


# --- tokens


@router.get("/tokens")
def list_tokens(hub: HubDep, actor: ActorDep, user: str | None = None) -> list[dict[str, Any]]:
    """Tokens of one's own account, or for an administrator of another's. Secrets are never told again."""
    return [_token(t) for t in hub.accounts.tokens(_mine_or(hub, actor, user, Access.READ))
            if not t.name.startswith(SESSION_PREFIX)]


@router.post("/tokens")
def create_token(body: NewToken, hub: HubDep, actor: ActorDep) -> Response:
    """The answer's `token` is shown this once."""
    repos = tuple(_repo_key(hub, actor, name) for name in body.repos) if body.repos is not None else None
    account = _mine_or(hub, actor, body.user, Access.READ)
    secret, token = issue_token(hub, actor, body.name, scope=Access(body.scope), repos=repos, account=account,
                                seconds=body.days * 86_400 if body.days else None)
    return JSONResponse({"token": secret, "user": account.name, **_token(token)}, 201, {"Cache-Control": "no-store"})


@router.delete("/tokens/{name}")
def revoke_token(name: str, hub: HubDep, actor: ActorDep, user: str | None = None) -> dict[str, bool]:
    account = _mine_or(hub, actor, user, Access.WRITE)
    if not hub.accounts.revoke(account, segment(name), by=actor):
        raise NotFound(f"{account.name} has no token named {segment(name)!r}.",
                       hint="`headwater token list` shows them.")
    return {"ok": True}


# --- users


@router.get("/users")
def list_users(hub: HubDep, actor: ActorDep) -> list[dict[str, Any]]:
    need_admin(actor)
    return [_account(a) for a in hub.accounts.all() if not a.is_org]


@router.post("/users", status_code=201)
def new_user(body: NewUser, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    return _account(create_user(hub, actor, body.name, body.password, fullname=body.fullname, email=body.email,
                                is_admin=body.admin))


@router.put("/users/{name}/password")
def change_password(name: str, body: NewPassword, hub: HubDep, actor: ActorDep) -> dict[str, bool]:
    """One's own, or anybody's for an administrator. Ends the account's sessions."""
    set_password(hub, actor, segment(name), body.password)
    return {"ok": True}


@router.delete("/users/{name}")
def delete_user(name: str, hub: HubDep, actor: ActorDep) -> dict[str, bool]:
    delete_account(hub, actor, segment(name), is_org=False)
    return {"ok": True}


# --- organisations


@router.get("/orgs")
def list_orgs(hub: HubDep, actor: ActorDep) -> list[dict[str, Any]]:
    """Those one belongs to; for an administrator of the hub, all."""
    account = need_scope(actor, Access.READ)
    orgs = ([a for a in hub.accounts.all() if a.is_org] if account.is_admin
            else [m.org for m in hub.accounts.memberships(account)])
    return [_org(hub, org) for org in orgs]


@router.post("/orgs", status_code=201)
def new_org(body: NewOrg, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    """One becomes its first administrator."""
    return _org(hub, create_org(hub, actor, body.name, fullname=body.fullname))


@router.get("/orgs/{org}")
def show_org(org: str, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    need_scope(actor, Access.READ)
    found = hub.accounts.find(segment(org))
    if found is None or not found.is_org or not role_in(hub, actor, found.name).covers(Access.READ):
        raise NotFound(f"No organisation {segment(org)!r} that you belong to.")
    return _org(hub, found)


@router.put("/orgs/{org}/members/{user}")
def put_role(org: str, user: str, body: Role, hub: HubDep, actor: ActorDep) -> dict[str, Any]:
    set_role(hub, actor, segment(org), segment(user), body.role)
    return _org(hub, hub.accounts.find(segment(org)))


@router.delete("/orgs/{org}")
def delete_org(org: str, hub: HubDep, actor: ActorDep) -> dict[str, bool]:
    delete_account(hub, actor, segment(org), is_org=True)
    return {"ok": True}


# --- audit


@router.get("/audit")
def audit(hub: HubDep, actor: ActorDep, before: Annotated[int | None, Query(ge=1, lt=1 << 63)] = None,
          subject: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
    """Every write, newest first: who, with which token, did what to what. For administrators of the hub."""
    need_admin(actor)
    return [{"id": r.id, "at": r.at, "actor": r.actor, "token": r.token, "action": r.action, "subject": r.subject,
             "detail": r.detail} for r in hub.accounts.audit(before=before, subject=subject, limit=limit)]


def _mine_or(hub: Hub, actor: Actor, user: str | None, need: Access) -> Account:
    mine = need_scope(actor, need)
    if user is None or user.lower() == mine.name.lower():
        return mine
    need_admin(actor)
    found = hub.accounts.find(user)
    if found is None or found.is_org:
        raise NotFound(f"No user {user!r} here.")
    return found


def _repo_key(hub: Hub, actor: Actor, name: str) -> str:
    kind = Kind.DATASET if name.startswith("datasets/") else Kind.MODEL
    return find_repo(hub, actor, kind, name.removeprefix("datasets/").removeprefix("models/")).key


def _token(token: Token) -> dict[str, Any]:
    return {"name": token.name, "scope": token.scope.value, "repos": token.repos, "created_at": token.created_at,
            "expires_at": token.expires_at, "last_used_at": token.last_used_at}


def _account(account: Account) -> dict[str, Any]:
    return {"name": account.name, "fullname": account.fullname, "email": account.email, "admin": account.is_admin,
            "created_at": account.created_at}


def _org(hub: Hub, org: Account) -> dict[str, Any]:
    members = [{"name": m.user.name, "role": m.role.value} for m in hub.accounts.members(org)]
    return {"name": org.name, "fullname": org.fullname, "created_at": org.created_at, "members": members}
