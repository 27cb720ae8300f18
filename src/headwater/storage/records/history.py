"""History over SQL: commits, trees and refs, and the one transaction that moves a ref. Knows no git hashing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, literal, select, tuple_, update

from headwater.core.errors import BadInput, EntryNotFound, RepoNotFound, RevisionNotFound
from headwater.core.events import REVISION_STORED
from headwater.core.types import Actor, Commit, Digest, EntryKind, Oid, Ref, Repo, Stale, Tree
from headwater.storage.database import Database, add, among, insert, listed
from headwater.storage.records import _body, _log
from headwater.storage.records._reach import forget_unreachable
from headwater.storage.tables import blobs, commits, refs, repo_blobs, repos, trees

MAIN = "refs/heads/main"


class SqlHistory:
    def __init__(self, database: Database):
        self._db = database

    def trees(self, oids: Iterable[Oid]) -> dict[Oid, Tree]:
        # Several repos may keep the same tree; one row of each is enough.
        chosen = select(trees.c.oid, func.min(trees.c.repo_id)).where(among(trees.c.oid, oids)).group_by(trees.c.oid)
        question = select(trees.c.oid, trees.c.body).where(tuple_(trees.c.oid, trees.c.repo_id).in_(chosen))
        with self._db.read() as connection:
            rows = connection.execute(question).all()
        return {oid: _body.unpack(oid, body) for oid, body in rows}

    def commit(self, repo: Repo, oid: Oid) -> Commit | None:
        with self._db.read() as connection:
            row = connection.execute(select(commits).where(*_commit(repo.id, oid))).first()
        return _as_commit(row) if row else None

    def find_commits(self, repo: Repo, prefix: str) -> list[Oid]:
        question = select(commits.c.oid).where(commits.c.repo_id == repo.id,
                                               commits.c.oid.startswith(prefix, autoescape=True))
        with self._db.read() as connection:
            return list(connection.scalars(question.limit(2)))

    def log(self, repo: Repo, head: Oid, *, skip: int = 0, limit: int = 50) -> list[Commit]:
        walk = select(commits.c.oid, commits.c.first_parent, literal(1).label("step")).where(*_commit(repo.id, head))
        walk = walk.cte("walk", recursive=True)
        parent = commits.alias("parent")
        walk = walk.union_all(
            select(parent.c.oid, parent.c.first_parent, walk.c.step + 1)
            .where(parent.c.repo_id == repo.id, parent.c.oid == walk.c.first_parent, walk.c.step < skip + limit))
        question = (select(commits).join(walk, commits.c.oid == walk.c.oid)
                    .where(commits.c.repo_id == repo.id, walk.c.step > skip).order_by(walk.c.step).limit(limit))
        with self._db.read() as connection:
            return [_as_commit(row) for row in connection.execute(question)]

    def count(self, repo: Repo, head: Oid) -> int:
        """Commits in the first-parent history of `head`; 0 if the repo has no such commit."""
        with self._db.read() as connection:
            return connection.scalar(select(commits.c.depth).where(*_commit(repo.id, head))) or 0

    def refs(self, repo: Repo) -> list[Ref]:
        """By name."""
        with self._db.read() as connection:
            rows = connection.execute(select(refs).where(refs.c.repo_id == repo.id).order_by(refs.c.name))
            return [Ref(row.name, row.commit, row.message) for row in rows]

    def ref(self, repo: Repo, name: str) -> Ref | None:
        with self._db.read() as connection:
            row = connection.execute(select(refs).where(refs.c.repo_id == repo.id, refs.c.name == name)).first()
        return Ref(row.name, row.commit, row.message) if row else None

    def advance(
        self, repo: Repo, ref: str, *, expect: Oid | None, commit: Commit, trees: Sequence[Tree],
        size_bytes: int, by: Actor, action: str = "commit", detail: dict[str, Any] | None = None,
    ) -> Stale | None:
        """A commit that does not stand on `expect` (a squash) leaves the old history unreachable: it is forgotten."""
        now = self._db.now()
        bodies = {tree.oid: _body.pack(tree) for tree in trees}  # before the transaction: it may take a while
        with self._db.write() as connection:
            named = lock(connection, repo)
            found = connection.scalar(select(refs.c.commit).where(refs.c.repo_id == repo.id, refs.c.name == ref))
            if found != expect:
                return Stale(found)
            _keep_trees(connection, repo.id, commit.tree, trees, bodies)
            keep_commit(connection, repo.id, commit)
            put = insert(connection, refs).values(repo_id=repo.id, name=ref, commit=commit.oid)
            connection.execute(put.on_conflict_do_update(index_elements=["repo_id", "name"],
                                                         set_={"commit": commit.oid, "message": None}))
            if expect is not None and expect not in commit.parents:
                forget_unreachable(connection, repo.id)
            if ref == MAIN:
                connection.execute(update(repos).where(repos.c.id == repo.id).values(
                    head=commit.oid, size_bytes=size_bytes, updated_at=now))
            _log.announce(connection, now, REVISION_STORED, {
                "repo_id": repo.id, "kind": named.kind, "name": f"{named.owner}/{named.name}", "ref": ref,
                "revision": commit.oid})
            _log.note(connection, now, by, action, f"{named.kind}/{named.owner}/{named.name}",
                      {"ref": ref, "revision": commit.oid, **(detail or {})})
        return None

    def place(self, repo: Repo, ref: Ref, *, by: Actor) -> bool:
        """Raises RevisionNotFound if the repo has no such commit."""
        with self._db.write() as connection:
            lock(connection, repo)
            if connection.scalar(select(commits.c.oid).where(*_commit(repo.id, ref.commit))) is None:
                raise RevisionNotFound(f"{repo.full_name} has no commit {ref.commit}.")
            if not add(connection, refs, repo_id=repo.id, name=ref.name, commit=ref.commit, message=ref.message):
                return False
            _log.note(connection, self._db.now(), by, "ref.create", repo.key,
                      {"ref": ref.name, "revision": ref.commit})
            return True

    def remove(self, repo: Repo, ref: str, *, by: Actor) -> bool:
        """Raises BadInput for the main branch: a repo always has one."""
        if ref == MAIN:
            raise BadInput("The main branch cannot be removed.", hint="Delete the repo, or commit to main instead.")
        with self._db.write() as connection:
            lock(connection, repo)
            row = delete(refs).where(refs.c.repo_id == repo.id, refs.c.name == ref).returning(refs.c.commit)
            stood = connection.scalar(row)
            if stood is None:
                return False
            forget_unreachable(connection, repo.id)
            _log.note(connection, self._db.now(), by, "ref.delete", repo.key, {"ref": ref, "revision": stood})
            return True

    def digests(self, repo: Repo) -> dict[Digest, int]:
        question = (select(blobs.c.digest, blobs.c.size).join(repo_blobs, repo_blobs.c.digest == blobs.c.digest)
                    .where(repo_blobs.c.repo_id == repo.id))
        with self._db.read() as connection:
            return {digest: size for digest, size in connection.execute(question)}


def lock(connection: Connection, repo: Repo) -> Row[Any]:
    """Hold the repo's row (kind, owner, name), so that commits to one repo go one after another.

    Raises RepoNotFound if it was deleted meanwhile.
    """
    # FOR NO KEY UPDATE: it lets a grant, which only needs the row to exist, pass.
    row = connection.execute(select(repos.c.kind, repos.c.owner, repos.c.name).where(repos.c.id == repo.id)
                             .with_for_update(key_share=True)).first()
    if row is None:
        raise RepoNotFound(f"{repo.full_name} was deleted meanwhile.", hint="Create it again.")
    return row


def keep_commit(connection: Connection, repo_id: int, commit: Commit) -> None:
    first = commit.parents[0] if commit.parents else None
    depth = connection.scalar(select(commits.c.depth).where(*_commit(repo_id, first))) if first else 0
    add(connection, commits, repo_id=repo_id, oid=commit.oid, tree=commit.tree, first_parent=first,
        parents=" ".join(commit.parents), depth=(depth or 0) + 1, author=commit.author, email=commit.email,
        title=commit.title, message=commit.message, created_at=commit.created_at)


def keep_tree(connection: Connection, repo_id: int, oid: Oid, body: bytes) -> None:
    add(connection, trees, oid=oid, repo_id=repo_id, body=body)


def _keep_trees(connection: Connection, repo_id: int, root: Oid, new: Sequence[Tree],
                bodies: dict[Oid, bytes]) -> None:
    """Keep the trees and name their bytes for the repo; only what is new is looked at.

    Raises EntryNotFound if a digest is not kept, or a directory is in neither `new` nor the repo.
    """
    folders = {e.oid for tree in new for e in tree.entries if e.kind is EntryKind.DIRECTORY} | {root}
    known = set(connection.scalars(select(trees.c.oid).where(
        trees.c.repo_id == repo_id, among(trees.c.oid, folders | bodies.keys()))))
    if lost := folders - known - bodies.keys():
        raise EntryNotFound(f"The directory {min(lost)} is not in this repo.", hint="Look at the branch again.")
    fresh = [tree for tree in new if tree.oid not in known]
    _name(connection, repo_id, {e.digest for tree in fresh for e in tree.entries if e.digest is not None})
    for oid in {tree.oid for tree in fresh}:
        keep_tree(connection, repo_id, oid, bodies[oid])


def _name(connection: Connection, repo_id: int, digests: set[Digest]) -> None:
    each = listed(digests)
    already = select(repo_blobs.c.digest).where(repo_blobs.c.repo_id == repo_id, repo_blobs.c.digest == each.c.value)
    new = set(connection.scalars(select(each.c.value).where(~already.exists())))
    if not new:
        return
    # FOR SHARE: from here to the end of the transaction the sweep passes these rows by.
    kept = set(connection.scalars(select(blobs.c.digest).where(among(blobs.c.digest, new), blobs.c.kept)
                                  .order_by(blobs.c.digest).with_for_update(read=True, of=blobs)))
    if lost := new - kept:
        raise EntryNotFound(f"The bytes of {min(lost)} are not here (any more); {len(lost):,} such.",
                            hint="Upload the files again.")
    connection.execute(repo_blobs.insert().from_select(
        ["repo_id", "digest"], select(literal(repo_id), listed(sorted(new)).c.value)))


def _commit(repo_id: int, oid: Oid | None) -> tuple[Any, Any]:
    return commits.c.repo_id == repo_id, commits.c.oid == oid


def _as_commit(row: Row[Any]) -> Commit:
    return Commit(row.oid, row.tree, tuple(row.parents.split()), row.author, row.email, row.title, row.message,
                  row.created_at)
