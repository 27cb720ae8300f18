"""Repos over SQL: names, redirects, likes, cards, search. Knows no history but the first commit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.exc import IntegrityError

from headwater.core.errors import NotSignedIn, RepoExists
from headwater.core.events import REPO_DELETED
from headwater.core.types import EMPTY_TREE, Actor, Card, Commit, Kind, Repo, RepoPage, Search, Tree
from headwater.storage.database import Database, add
from headwater.storage.records import _body, _log, _search
from headwater.storage.records.history import MAIN, keep_commit, keep_tree, lock
from headwater.storage.tables import accounts, likes, redirects, refs, repo_tags, repos


class SqlRepos:
    def __init__(self, database: Database):
        self._db = database

    def create(self, kind: Kind, owner: str, name: str, *, private: bool, first: Commit, by: Actor) -> Repo:
        """`first` must be a commit of the empty tree (ValueError)."""
        if first.tree != EMPTY_TREE or first.parents:
            raise ValueError("a repo begins with a parentless commit of the empty tree")
        now = self._db.now()
        try:
            with self._db.write() as connection:
                _clear(connection, kind, owner, name)
                row = connection.execute(repos.insert().values(
                    kind=str(kind), owner=owner, name=name, owner_key=owner.lower(), key=_key(owner, name),
                    private=private, created_at=now, updated_at=now, head=first.oid, size_bytes=0, likes=0,
                    downloads=0, card={"data": {}, "tags": [], "problem": None}).returning(repos)).one()
                keep_tree(connection, row.id, EMPTY_TREE, _body.pack(Tree(EMPTY_TREE, ())))
                keep_commit(connection, row.id, first)
                connection.execute(refs.insert().values(repo_id=row.id, name=MAIN, commit=first.oid))
                repo = as_repo(row)
                _log.note(connection, now, by, "repo.create", repo.key, {"private": private})
                return repo
        except IntegrityError:  # somebody made it between our look and our insert
            raise _exists(kind, owner, name) from None

    def find(self, kind: Kind, owner: str, name: str) -> Repo | None:
        key = _key(owner, name)
        with self._db.read() as connection:
            row = connection.execute(select(repos).where(repos.c.kind == kind, repos.c.key == key)).first()
            if row is None:
                moved = select(redirects.c.repo_id).where(redirects.c.kind == kind, redirects.c.key == key)
                row = connection.execute(select(repos).where(repos.c.id.in_(moved))).first()
        return as_repo(row) if row else None

    def get(self, repo_id: int) -> Repo | None:
        with self._db.read() as connection:
            row = connection.execute(select(repos).where(repos.c.id == repo_id)).first()
        return as_repo(row) if row else None

    def move(self, repo: Repo, owner: str, name: str, *, by: Actor) -> Repo:
        """Changing only the case of the name is a move too, and needs no redirect."""
        try:
            with self._db.write() as connection:
                held = lock(connection, repo)
                old, new = _key(held.owner, held.name), _key(owner, name)
                if old != new:
                    _clear(connection, repo.kind, owner, name)
                    connection.execute(redirects.insert().values(kind=repo.kind, key=old, repo_id=repo.id))
                row = connection.execute(update(repos).where(repos.c.id == repo.id).values(
                    owner=owner, name=name, owner_key=owner.lower(), key=new).returning(repos)).one()
                _log.note(connection, self._db.now(), by, "repo.move", f"{repo.kind}/{held.owner}/{held.name}",
                          {"to": f"{owner}/{name}"})
                return as_repo(row)
        except IntegrityError:
            raise _exists(repo.kind, owner, name) from None

    def set_private(self, repo: Repo, private: bool, *, by: Actor) -> Repo:
        with self._db.write() as connection:
            lock(connection, repo)
            row = connection.execute(update(repos).where(repos.c.id == repo.id).values(private=private)
                                     .returning(repos)).one()
            _log.note(connection, self._db.now(), by, "repo.visibility", repo.key, {"private": private})
            return as_repo(row)

    def delete(self, repo: Repo, *, by: Actor) -> None:
        """Announces REPO_DELETED. Deleting what is deleted is no error."""
        with self._db.write() as connection:
            # The rest of the repo's rows go with this one, by their foreign keys.
            gone = connection.execute(delete(repos).where(repos.c.id == repo.id)
                                      .returning(repos.c.owner, repos.c.name)).first()
            if gone is None:
                return
            name = f"{gone.owner}/{gone.name}"
            _log.announce(connection, self._db.now(), REPO_DELETED,
                          {"repo_id": repo.id, "kind": str(repo.kind), "name": name})
            _log.note(connection, self._db.now(), by, "repo.delete", f"{repo.kind}/{name}")

    def describe(self, repo: Repo, card: Card) -> None:
        with self._db.write() as connection:
            lock(connection, repo)
            connection.execute(update(repos).where(repos.c.id == repo.id).values(
                card={"data": card.data, "tags": list(card.tags), "problem": card.problem}))
            connection.execute(delete(repo_tags).where(repo_tags.c.repo_id == repo.id))
            if card.tags:
                connection.execute(repo_tags.insert(),
                                   [{"repo_id": repo.id, "tag": tag} for tag in dict.fromkeys(card.tags)])

    def search(self, search: Search) -> RepoPage:
        with self._db.read() as connection:
            rows, after = _search.find_page(connection, search)
            return RepoPage([as_repo(row) for row in rows], after)

    def tags(self, kind: Kind, viewer: Actor, *, limit: int = 500) -> list[tuple[str, int]]:
        with self._db.read() as connection:
            return _search.tally(connection, kind, viewer, limit)

    def like(self, repo: Repo, liked: bool, *, by: Actor) -> None:
        """Liking twice counts once. Raises NotSignedIn for a stranger."""
        if by.account is None:
            raise NotSignedIn("Sign in to like a repo.")
        with self._db.write() as connection:
            lock(connection, repo)
            if liked:
                changed = int(add(connection, likes, repo_id=repo.id, account_id=by.account.id, at=self._db.now()))
            else:
                changed = -connection.execute(delete(likes).where(
                    likes.c.repo_id == repo.id, likes.c.account_id == by.account.id)).rowcount
            if changed:
                connection.execute(update(repos).where(repos.c.id == repo.id).values(likes=repos.c.likes + changed))
                _log.note(connection, self._db.now(), by, "repo.like" if liked else "repo.unlike", repo.key)

    def likers(self, repo: Repo) -> list[str]:
        """Newest first."""
        question = (select(accounts.c.name).join(likes, likes.c.account_id == accounts.c.id)
                    .where(likes.c.repo_id == repo.id).order_by(likes.c.at.desc(), accounts.c.id))
        with self._db.read() as connection:
            return list(connection.scalars(question))

    def liked_by(self, account: str) -> list[Repo]:
        """Newest first, private ones too: the caller knows who asks."""
        question = (select(repos).join(likes, likes.c.repo_id == repos.c.id)
                    .join(accounts, accounts.c.id == likes.c.account_id)
                    .where(accounts.c.key == account.lower()).order_by(likes.c.at.desc(), repos.c.id))
        with self._db.read() as connection:
            return [as_repo(row) for row in connection.execute(question)]

    def downloaded(self, repo: Repo) -> None:
        with self._db.write(hasty=True) as connection:
            connection.execute(update(repos).where(repos.c.id == repo.id).values(downloads=repos.c.downloads + 1))


def _key(owner: str, name: str) -> str:
    return f"{owner}/{name}".lower()


def _clear(connection: Connection, kind: Kind, owner: str, name: str) -> None:
    """Make way for a repo of this name: RepoExists if one has it; a redirect that stood there goes."""
    key = _key(owner, name)
    # While the owner's row is held the account cannot be deleted (Accounts.delete asks whether it owns repos).
    connection.execute(select(accounts.c.id).where(accounts.c.key == owner.lower())
                       .with_for_update(read=True, key_share=True))
    if connection.scalar(select(repos.c.id).where(repos.c.kind == kind, repos.c.key == key)) is not None:
        raise _exists(kind, owner, name)
    connection.execute(delete(redirects).where(redirects.c.kind == kind, redirects.c.key == key))


def _exists(kind: Kind, owner: str, name: str) -> RepoExists:
    return RepoExists(f"There is a {kind} {owner}/{name} already.", hint="Choose another name, or push to that one.")


def as_repo(row: Row[Any]) -> Repo:
    card = Card(row.card["data"], tuple(row.card["tags"]), row.card["problem"])
    return Repo(row.id, Kind(row.kind), row.owner, row.name, row.private, row.created_at, row.updated_at, row.head,
                row.size_bytes, row.likes, row.downloads, card)
