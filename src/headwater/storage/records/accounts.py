"""Accounts over SQL: users and organisations, roles, tokens, the audit log, secrets. Hashes come from the caller."""

from __future__ import annotations

import secrets as randomness
from typing import Any

from sqlalchemy import Connection, Row, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from headwater.core.errors import Busy, Conflict, NotFound
from headwater.core.types import Access, Account, Actor, AuditRow, Membership, Token
from headwater.storage.database import Database, add, insert
from headwater.storage.records import _log
from headwater.storage.tables import accounts, audit, likes, memberships, repos, secrets, tokens

_CHANGEABLE = {"fullname", "email", "is_admin", "password_hash"}
_USED_EVERY_S = 60.0


class SqlAccounts:
    def __init__(self, database: Database):
        self._db = database

    def create(self, name: str, *, is_org: bool, fullname: str, email: str | None, is_admin: bool,
               password_hash: str | None, by: Actor) -> Account:
        now = self._db.now()
        try:
            with self._db.write() as connection:
                row = connection.execute(accounts.insert().values(
                    name=name, key=name.lower(), is_org=is_org, fullname=fullname, email=email, is_admin=is_admin,
                    password_hash=password_hash, created_at=now).returning(accounts)).one()
                _log.note(connection, now, by, "account.create", name, {"is_org": is_org, "is_admin": is_admin})
                return _as_account(row)
        except IntegrityError:
            raise Conflict(f"The name {name!r} is taken.", hint="Choose another.") from None

    def find(self, name: str) -> Account | None:
        """Whatever the case of the name."""
        with self._db.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.key == name.lower())).first()
        return _as_account(row) if row else None

    def get(self, account_id: int) -> Account | None:
        with self._db.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.id == account_id)).first()
        return _as_account(row) if row else None

    def all(self) -> list[Account]:
        """By name."""
        with self._db.read() as connection:
            return [_as_account(row) for row in connection.execute(select(accounts).order_by(accounts.c.key))]

    def count(self) -> int:
        with self._db.read() as connection:
            return connection.scalar(select(func.count()).select_from(accounts)) or 0

    def update(self, account: Account, *, by: Actor, **fields: Any) -> Account:
        """Raises TypeError for any other field. The audit row names the fields, never the values."""
        if unknown := fields.keys() - _CHANGEABLE:
            raise TypeError(f"an account's {', '.join(sorted(unknown))} cannot be changed")
        with self._db.write() as connection:
            if fields:
                connection.execute(update(accounts).where(accounts.c.id == account.id).values(**fields))
            row = connection.execute(select(accounts).where(accounts.c.id == account.id)).first()
            if row is None:
                raise _no_account(account)
            _log.note(connection, self._db.now(), by, "account.update", row.name, {"fields": sorted(fields)})
            return _as_account(row)

    def delete(self, account: Account, *, by: Actor) -> None:
        """Its tokens, roles and likes go with it. Deleting what is deleted is no error."""
        with self._db.write() as connection:
            row = connection.execute(select(accounts).where(accounts.c.id == account.id).with_for_update()).first()
            if row is None:
                return
            owned = connection.scalar(select(func.count()).select_from(repos).where(repos.c.owner_key == row.key))
            if owned:
                raise Conflict(f"{row.name} still owns {owned} repos.", hint="Delete or move them first.")
            liked = select(likes.c.repo_id).where(likes.c.account_id == account.id)
            connection.execute(update(repos).where(repos.c.id.in_(liked)).values(likes=repos.c.likes - 1))
            connection.execute(delete(accounts).where(accounts.c.id == account.id))
            _log.note(connection, self._db.now(), by, "account.delete", row.name)

    def password_hash(self, account: Account) -> str | None:
        with self._db.read() as connection:
            return connection.scalar(select(accounts.c.password_hash).where(accounts.c.id == account.id))

    def any_password(self) -> bool:
        with self._db.read() as connection:
            first = select(accounts.c.id).where(accounts.c.password_hash.is_not(None)).limit(1)
            return connection.scalar(first) is not None

    def set_role(self, org: Account, user: Account, role: Access, *, by: Actor) -> None:
        """Raises NotFound if either account is gone."""
        pair = {"org_id": org.id, "user_id": user.id}
        try:
            with self._db.write() as connection:
                if role is Access.NONE:
                    connection.execute(delete(memberships).filter_by(**pair))
                else:
                    row = insert(connection, memberships).values(**pair, role=str(role))
                    connection.execute(row.on_conflict_do_update(index_elements=list(pair), set_={"role": str(role)}))
                _log.note(connection, self._db.now(), by, "role.set", org.name, {"user": user.name, "role": str(role)})
        except IntegrityError:
            raise _no_account(user) from None

    def members(self, org: Account) -> list[Membership]:
        """By name."""
        question = (select(accounts, memberships.c.role).join(memberships, memberships.c.user_id == accounts.c.id)
                    .where(memberships.c.org_id == org.id).order_by(accounts.c.key))
        with self._db.read() as connection:
            return [Membership(org, _as_account(row), Access(row.role)) for row in connection.execute(question)]

    def memberships(self, user: Account) -> list[Membership]:
        """By name of the organisation."""
        question = (select(accounts, memberships.c.role).join(memberships, memberships.c.org_id == accounts.c.id)
                    .where(memberships.c.user_id == user.id).order_by(accounts.c.key))
        with self._db.read() as connection:
            return [Membership(_as_account(row), user, Access(row.role)) for row in connection.execute(question)]

    def issue(self, account: Account, name: str, secret_hash: str, *, scope: Access,
              repos: tuple[str, ...] | None, expires_at: float | None, by: Actor) -> Token:
        """An expired token of the same name makes way, and so do the account's expired browser sessions."""
        now = self._db.now()
        try:
            with self._db.write() as connection:
                connection.execute(delete(tokens).where(
                    tokens.c.account_id == account.id, tokens.c.expires_at <= now,
                    or_(tokens.c.name == name, tokens.c.scope == str(Access.ADMIN))))
                row = connection.execute(tokens.insert().values(
                    account_id=account.id, name=name, secret_hash=secret_hash, scope=str(scope),
                    repos=None if repos is None else list(repos), created_at=now,
                    expires_at=expires_at).returning(tokens)).one()
                _log.note(connection, now, by, "token.issue", account.name,
                          {"token": name, "scope": str(scope), "repos": repos and list(repos)})
                return _as_token(row)
        except IntegrityError:
            if self.get(account.id) is None:
                raise _no_account(account) from None
            raise Conflict(f"{account.name} has a token named {name!r} already.",
                           hint="Choose another name, or revoke that one first.") from None

    def token(self, secret_hash: str) -> tuple[Token, Account] | None:
        now = self._db.now()
        with self._db.read() as connection:
            row = connection.execute(select(tokens).where(
                tokens.c.secret_hash == secret_hash,
                or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now))).first()
            owner = row and connection.execute(select(accounts).where(accounts.c.id == row.account_id)).first()
        if row is None or owner is None:
            return None
        if row.last_used_at is None or row.last_used_at <= now - _USED_EVERY_S:
            self._used(row.id, now)
        return _as_token(row), _as_account(owner)

    def _used(self, token_id: int, now: float) -> None:
        try:
            with self._db.write(hasty=True) as connection:
                connection.execute(update(tokens).where(tokens.c.id == token_id).values(last_used_at=now))
        except Busy:
            return  # when it was last used is a courtesy; nobody is turned away for it

    def tokens(self, account: Account) -> list[Token]:
        """Newest first, expired ones too."""
        question = select(tokens).where(tokens.c.account_id == account.id).order_by(tokens.c.id.desc())
        with self._db.read() as connection:
            return [_as_token(row) for row in connection.execute(question)]

    def revoke(self, account: Account, name: str, *, by: Actor) -> bool:
        with self._db.write() as connection:
            gone = connection.execute(delete(tokens).where(
                tokens.c.account_id == account.id, tokens.c.name == name)).rowcount
            if gone:
                _log.note(connection, self._db.now(), by, "token.revoke", account.name, {"token": name})
            return bool(gone)

    def note(self, action: str, subject: str, *, by: Actor, detail: dict[str, Any] | None = None) -> None:
        with self._db.write() as connection:
            _log.note(connection, self._db.now(), by, action, subject, detail)

    def audit(self, *, before: int | None = None, subject: str | None = None, limit: int = 100) -> list[AuditRow]:
        question = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            question = question.where(audit.c.id < before)
        if subject is not None:
            question = question.where(audit.c.subject == subject)
        with self._db.read() as connection:
            return [AuditRow(row.id, row.at, row.actor, row.token, row.action, row.subject, row.detail)
                    for row in connection.execute(question)]

    def secret(self, name: str) -> bytes:
        with self._db.read() as connection:
            value = _secret(connection, name)
        if value is not None:
            return value
        with self._db.write() as connection:
            add(connection, secrets, name=name, value=randomness.token_bytes(32))
            made = _secret(connection, name)  # of the first to come, which may not be us
            assert made is not None
            return made


def _secret(connection: Connection, name: str) -> bytes | None:
    return connection.scalar(select(secrets.c.value).where(secrets.c.name == name))


def _no_account(account: Account) -> NotFound:
    return NotFound(f"The account {account.name} is gone.", hint="Sign in again.")


def _as_account(row: Row[Any]) -> Account:
    return Account(row.id, row.name, row.is_org, row.fullname, row.email, row.is_admin, row.created_at)


def _as_token(row: Row[Any]) -> Token:
    return Token(row.id, row.account_id, row.name, Access(row.scope), None if row.repos is None else tuple(row.repos),
                 row.created_at, row.expires_at, row.last_used_at)
