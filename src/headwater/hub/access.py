"""Who may do what. Private and absent look the same: RepoNotFound."""

from __future__ import annotations

from headwater.core.errors import Forbidden, NotSignedIn, RepoNotFound
from headwater.core.types import Access, Account, Actor, Kind, Repo
from headwater.hub import Hub
from headwater.hub.names import split_full_name


def role_in(hub: Hub, actor: Actor, owner: str) -> Access:
    """What the actor's account may do in the namespace `owner`, before the token's scope caps it."""
    if actor.account is None:
        return Access.NONE
    if actor.account.is_admin or actor.account.name == owner:
        return Access.ADMIN
    for membership in hub.accounts.memberships(actor.account):
        if membership.org.name == owner:
            return membership.role
    return Access.NONE


def access_to(hub: Hub, actor: Actor, repo: Repo) -> Access:
    """The least of what the account may do and what the token was made for; READ for everyone if public."""
    role = role_in(hub, actor, repo.owner)
    if actor.repos is not None and repo.key not in actor.repos:
        role = Access.NONE
    granted = min(role, _cap(actor), key=list(Access).index)
    if not repo.private and not granted.covers(Access.READ):
        return Access.READ
    return granted


def find_repo(hub: Hub, actor: Actor, kind: Kind, full_name: str, need: Access = Access.READ) -> Repo:
    """The repo, if the actor may do `need` with it.

    Raises RepoNotFound if it is absent or the actor may not even read it; Forbidden (or NotSignedIn for a
    stranger) if it may be read but not more.
    """
    owner, name = split_full_name(full_name)
    repo = hub.repos.find(kind, owner, name)
    granted = access_to(hub, actor, repo) if repo else Access.NONE
    if repo is None or not granted.covers(Access.READ):
        raise RepoNotFound(f"No {kind} {full_name!r} here, or it is private and you are not signed in as one who "
                           "may see it.", hint="`headwater list` shows what there is.")
    if not granted.covers(need):
        if actor.account is None:
            raise NotSignedIn(f"Sign in to {_verb(need)} {repo.full_name}.", hint="Send a token: HF_TOKEN=hf_…")
        raise Forbidden(f"{actor.name} may not {_verb(need)} {repo.full_name} with this token.",
                        hint="Ask an owner for the role, or use a token with write scope.")
    return repo


def may_create_in(hub: Hub, actor: Actor, owner: str) -> None:
    """Raises NotSignedIn or Forbidden unless the actor may make repos under `owner`."""
    if actor.account is None:
        raise NotSignedIn("Sign in to create a repo.", hint="Send a token: HF_TOKEN=hf_…")
    if actor.repos is not None:
        raise Forbidden("This token opens only the repos it was made for, so it cannot create one.")
    granted = min(role_in(hub, actor, owner), _cap(actor), key=list(Access).index)
    if not granted.covers(Access.WRITE):
        raise Forbidden(f"{actor.name} may not create repos under {owner!r} with this token.",
                        hint="Use your own name or an organisation where you have the role write.")


def need_scope(actor: Actor, need: Access) -> Account:
    """The account, if somebody is signed in with a token that covers `need`."""
    if actor.account is None:
        raise NotSignedIn("Sign in first.", hint="Send a token: HF_TOKEN=hf_…")
    if not actor.scope.covers(need):
        raise Forbidden(f"This token may {actor.scope}, and this needs {need}.", hint="Make one with a wider scope.")
    return actor.account


def need_admin(actor: Actor) -> Account:
    account = need_scope(actor, Access.WRITE)
    if not account.is_admin:
        raise Forbidden("Only an administrator of this hub may do that.")
    return account


def _cap(actor: Actor) -> Access:
    # A write token may also administer what its account administers, as on the Hugging Face Hub: deleting a
    # repo or changing its settings needs no third scope.
    return Access.ADMIN if actor.scope.covers(Access.WRITE) else actor.scope


def _verb(need: Access) -> str:
    return {Access.READ: "read", Access.WRITE: "write to", Access.ADMIN: "administer"}.get(need, str(need))
