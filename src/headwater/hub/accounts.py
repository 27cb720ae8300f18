"""People, organisations, tokens and sessions. Secrets are shown once and kept as hashes."""

from __future__ import annotations

import hashlib
import secrets
import string

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from headwater.core.errors import BadInput, Conflict, NotFound, NotSignedIn
from headwater.core.types import ANYONE, Access, Account, Actor, Token
from headwater.hub import Hub
from headwater.hub.access import need_admin, need_scope, role_in
from headwater.hub.names import check_owner

SESSION_S = 30 * 86_400
SESSION_PREFIX = "session "
_ALPHABET = string.ascii_letters + string.digits
_hasher = PasswordHasher()
# Compared against when there is no such user, so that a wrong name takes as long as a wrong password. Made up: hashing
# one took 0.15 s of every start.
_NOBODY = (f"$argon2id$v=19$m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
           f"${'A' * 22}${'A' * 43}")


def local_owner(hub: Hub) -> Account:
    """The account that owns an open hub on loopback, made at the first start."""
    name = hub.settings.owner
    found = hub.accounts.find(name)
    if found is None:
        try:
            found = hub.accounts.create(check_owner(name), is_org=False, fullname="", email=None, is_admin=True,
                                        password_hash=None, by=Actor(None))
        except Conflict:  # another process was first
            found = hub.accounts.find(name)
    return found


def owner_actor(hub: Hub) -> Actor:
    return Actor(local_owner(hub), Access.ADMIN)


def is_open(hub: Hub) -> bool:
    """Whether whoever reaches this hub on loopback is its owner: so long as no account has a password."""
    return not hub.accounts.any_password()


def create_user(hub: Hub, actor: Actor, name: str, password: str | None, *, fullname: str = "",
                email: str | None = None, is_admin: bool = False) -> Account:
    """Raises Conflict if the name is taken, BadInput for a weak password, Forbidden unless an administrator asks."""
    need_admin(actor)
    return hub.accounts.create(check_owner(name), is_org=False, fullname=fullname, email=email, is_admin=is_admin,
                               password_hash=hash_password(password) if password else None, by=actor)


def create_org(hub: Hub, actor: Actor, name: str, *, fullname: str = "") -> Account:
    """An organisation whose first administrator is the actor."""
    account = need_scope(actor, Access.WRITE)
    org = hub.accounts.create(check_owner(name), is_org=True, fullname=fullname, email=None, is_admin=False,
                              password_hash=None, by=actor)
    hub.accounts.set_role(org, account, Access.ADMIN, by=actor)
    return org


def set_role(hub: Hub, actor: Actor, org_name: str, user_name: str, role: Access) -> None:
    """Give `user` a role in `org`; NONE takes it away. Raises Conflict for the last administrator."""
    org, user = _account(hub, org_name, is_org=True), _account(hub, user_name, is_org=False)
    need_scope(actor, Access.WRITE)
    if not role_in(hub, actor, org.name).covers(Access.ADMIN):
        raise NotFound(f"No organisation {org_name!r} that you administer.")
    admins = [m.user.id for m in hub.accounts.members(org) if m.role is Access.ADMIN]
    if admins == [user.id] and role is not Access.ADMIN:
        raise Conflict(f"{user.name} is the only administrator of {org.name}.", hint="Make somebody else one first.")
    hub.accounts.set_role(org, user, role, by=actor)


def set_password(hub: Hub, actor: Actor, name: str, password: str) -> None:
    """One's own, or anybody's for an administrator. Ends every session of the account."""
    account = _account(hub, name, is_org=False)
    if need_scope(actor, Access.WRITE).id != account.id:
        need_admin(actor)
    hub.accounts.update(account, password_hash=hash_password(password), by=actor)
    for token in hub.accounts.tokens(account):
        if token.name.startswith(SESSION_PREFIX) and token.id != actor.token_id:
            hub.accounts.revoke(account, token.name, by=actor)


def delete_account(hub: Hub, actor: Actor, name: str, *, is_org: bool) -> None:
    """A user by an administrator of the hub, an organisation by one of its own. Raises Conflict while it owns repos,
    and for the last administrator."""
    account = _account(hub, name, is_org=is_org)
    need_scope(actor, Access.WRITE)
    if is_org and not role_in(hub, actor, account.name).covers(Access.ADMIN):
        raise NotFound(f"No organisation {name!r} that you administer.")
    if not is_org:
        need_admin(actor)
        if [a.id for a in hub.accounts.all() if a.is_admin] == [account.id]:
            raise Conflict(f"{account.name} is the only administrator.", hint="Make another user one first.")
        for membership in hub.accounts.memberships(account):
            admins = [m.user.id for m in hub.accounts.members(membership.org) if m.role is Access.ADMIN]
            if admins == [account.id]:
                raise Conflict(f"{account.name} is the only administrator of {membership.org.name}.",
                               hint="Make somebody else one first.")
    hub.accounts.delete(account, by=actor)


def hash_password(password: str) -> str:
    if not 8 <= len(password) <= 1024:
        raise BadInput("A password has 8 to 1024 characters.")
    return _hasher.hash(password)


def sign_in(hub: Hub, name: str, password: str, *, address: str = "") -> str:
    """The secret of a new session. Raises NotSignedIn, the same for a wrong name and a wrong password; Busy after
    too many wrong ones for the name or from the address (empty: not known)."""
    keys = [f"name {name[:200].lower()}", *([f"address {address}"] if address else [])]
    hub.sign_ins.enter(*keys)
    account = hub.accounts.find(name)
    kept = hub.accounts.password_hash(account) if account and not account.is_org else None
    try:
        _hasher.verify(kept or _NOBODY, password[:1024])
    except (Argon2Error, InvalidHashError):
        kept = None
    if kept is None:
        # A name nobody has is not written down: people type passwords there by mistake.
        hub.accounts.note("session.refused", account.name if account else "unknown", by=ANYONE,
                          detail={"address": address})
        raise NotSignedIn("That name and password do not belong together.")
    hub.sign_ins.succeeded(*keys)
    actor = Actor(account, Access.ADMIN)
    return issue_token(hub, actor, SESSION_PREFIX + secrets.token_hex(6), scope=Access.ADMIN,
                       seconds=SESSION_S)[0]


def sign_out(hub: Hub, actor: Actor) -> None:
    if actor.account and actor.token_name and actor.token_name.startswith(SESSION_PREFIX):
        hub.accounts.revoke(actor.account, actor.token_name, by=actor)


def issue_token(hub: Hub, actor: Actor, name: str, *, scope: Access = Access.WRITE,
                repos: tuple[str, ...] | None = None, seconds: float | None = None,
                account: Account | None = None) -> tuple[str, Token]:
    """(the secret, its row). A token never opens more than the one that made it. Raises Conflict for a name in use."""
    owner = need_scope(actor, scope)
    if account is not None and account.id != owner.id:
        need_admin(actor)
        owner = account
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise BadInput("A token's name has 1 to 100 printable characters.")
    if actor.repos is not None:
        repos = tuple(r for r in repos or actor.repos if r in actor.repos)
    secret = "hf_" + "".join(secrets.choice(_ALPHABET) for _ in range(34))
    expires = hub.now() + seconds if seconds else None
    return secret, hub.accounts.issue(owner, name, hash_secret(secret), scope=scope, repos=repos, expires_at=expires,
                                      by=actor)


def hash_secret(secret: str) -> str:
    # 200 random bits need no slow hash; sha256 keeps the lookup one indexed read.
    return hashlib.sha256(secret.encode()).hexdigest()


def actor_of_secret(hub: Hub, secret: str) -> Actor | None:
    """Who holds this token or session; None for an unknown, expired or revoked one."""
    if not secret.startswith("hf_") or len(secret) > 200:
        return None
    found = hub.accounts.token(hash_secret(secret))
    if found is None:
        return None
    token, account = found
    return Actor(account, token.scope, token.id, token.name, token.repos)


def _account(hub: Hub, name: str, *, is_org: bool) -> Account:
    found = hub.accounts.find(name)
    if found is None or found.is_org != is_org:
        raise NotFound(f"No {'organisation' if is_org else 'user'} {name!r} here.")
    return found
