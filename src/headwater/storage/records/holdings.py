"""Holdings over SQL: which bytes are kept, who may name them, and the sweep. Knows no blob store.

Why nothing is lost when a sweep meets an upload or a commit: each of grant, advance and the sweep holds the
digest's row of `blobs` while it decides (on SQLite, the only write lock there is). The sweep looks for names and
leases after it has the row, so it sees everything that was there first; whoever comes later finds the row gone
and makes it anew (grant) or refuses (advance). Locks are taken in one order: repo, then blobs, then leases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, or_, select, update

from headwater.core.errors import Conflict, RepoNotFound
from headwater.core.types import Actor, Digest, Finding, Repo
from headwater.storage.database import Database, among, insert
from headwater.storage.records._search import visible
from headwater.storage.records.repos import as_repo
from headwater.storage.tables import blobs, deltas, files, findings, leases, repo_blobs, repos

_PAGE = 2000
_CLAIMED_S = 86_400.0
"""A file claimed for so long (records/files.py) whose bytes never came is given up."""


class SqlHoldings:
    def __init__(self, database: Database):
        self._db = database

    def grant(self, repo: Repo, digest: Digest, size: int, *, seconds: float) -> None:
        """Raises RepoNotFound if the repo was deleted meanwhile."""
        self.grant_all(repo, {digest: size}, seconds=seconds)

    def grant_all(self, repo: Repo, sizes: Mapping[Digest, int], *, seconds: float) -> None:
        """Raises RepoNotFound if the repo was deleted meanwhile."""
        if not sizes:
            return
        now = self._db.now()
        with self._db.write() as connection:
            lock = select(repos.c.id).where(repos.c.id == repo.id).with_for_update(read=True, key_share=True)
            if connection.scalar(lock) is None:
                raise RepoNotFound(f"{repo.full_name} was deleted meanwhile.", hint="Create it again.")
            row = insert(connection, blobs).on_conflict_do_update(index_elements=["digest"], set_={"created_at": now})
            # Sorted, so that two grants of the same digests take their rows in one order.
            connection.execute(row, [{"digest": digest, "size": sizes[digest], "created_at": now, "kept": False}
                                     for digest in sorted(sizes)])
            lease = insert(connection, leases)
            lease = lease.on_conflict_do_update(
                index_elements=["digest", "repo_id"], set_={"expires_at": lease.excluded.expires_at},
                where=leases.c.expires_at < lease.excluded.expires_at)
            connection.execute(lease, [{"digest": digest, "repo_id": repo.id, "expires_at": now + seconds}
                                       for digest in sorted(sizes)])

    def kept(self, digest: Digest) -> None:
        """Raises Conflict if the lease ran out and the sweep took the digest before its bytes came."""
        self.kept_all([digest])

    def kept_all(self, digests: Iterable[Digest]) -> None:
        """Raises Conflict as kept() does, and then marks none."""
        wanted = sorted(set(digests))
        with self._db.write() as connection:
            held = select(blobs.c.digest).where(among(blobs.c.digest, wanted)).order_by(blobs.c.digest)
            there = set(connection.scalars(held.with_for_update(key_share=True)))
            if lost := set(wanted) - there:
                raise Conflict(f"The upload of {min(lost)} took longer than its lease.", hint="Upload the file again.")
            connection.execute(update(blobs).where(among(blobs.c.digest, wanted)).values(kept=True))

    def sizes(self, repo: Repo, digests: Iterable[Digest]) -> dict[Digest, int]:
        leased = exists().where(leases.c.digest == blobs.c.digest, leases.c.repo_id == repo.id,
                                leases.c.expires_at > self._db.now())
        named = exists().where(repo_blobs.c.digest == blobs.c.digest, repo_blobs.c.repo_id == repo.id)
        question = select(blobs.c.digest, blobs.c.size).where(
            among(blobs.c.digest, digests), blobs.c.kept, or_(leased, named))
        with self._db.read() as connection:
            return {digest: size for digest, size in connection.execute(question)}

    def damaged(self, digest: Digest) -> None:
        with self._db.write() as connection:
            connection.execute(update(blobs).where(blobs.c.digest == digest).values(kept=False))

    def lost(self, digests: Iterable[Digest]) -> set[Digest]:
        asked = set(digests)
        with self._db.read() as connection:
            return asked - set(connection.scalars(select(blobs.c.digest).where(among(blobs.c.digest, asked),
                                                                               blobs.c.kept)))

    def sweep(self, *, grace_s: float, limit: int, delete: Callable[[Digest], None]) -> list[tuple[Digest, int]]:
        """`delete` must not write records: the transaction around it is open.

        An error of `delete` ends the sweep; what was deleted before it stays deleted, the rest waits.
        """
        free = self._free(grace_s)
        gone = []
        for digest in self._doom(free, limit):
            with self._db.write() as connection:
                size = _lock_if(connection, digest, and_(free, ~blobs.c.kept))
                if size is None:  # leased or kept again since it was doomed
                    continue
                delete(digest)
                connection.execute(blobs.delete().where(blobs.c.digest == digest))
            gone.append((digest, size))
        return gone

    def _free(self, grace_s: float) -> ColumnElement[bool]:
        now = self._db.now()
        return and_(
            blobs.c.created_at <= now - grace_s,
            ~exists().where(repo_blobs.c.digest == blobs.c.digest),
            ~exists().where(files.c.digest == blobs.c.digest),
            ~exists().where(deltas.c.base == blobs.c.digest),
            ~exists().where(leases.c.digest == blobs.c.digest, leases.c.expires_at > now),
        )

    def _doom(self, free: ColumnElement[bool], limit: int) -> list[Digest]:
        """Pick what to delete and mark it not kept, before the first byte goes.

        Should the process die between deleting bytes and committing, no row then claims bytes that are not there.
        """
        with self._db.write() as connection:
            now = self._db.now()
            connection.execute(delete(leases).where(leases.c.expires_at <= now))
            connection.execute(delete(files).where(~files.c.ready, files.c.created_at <= now - _CLAIMED_S))
            picked = list(connection.scalars(
                select(blobs.c.digest).where(free).order_by(blobs.c.created_at).limit(limit)
                .with_for_update(skip_locked=True, of=blobs)))
            # Asked again now that the rows are held: the first question may have been answered from before
            # somebody's commit.
            doomed = list(connection.scalars(select(blobs.c.digest).where(among(blobs.c.digest, picked), free)))
            connection.execute(update(blobs).where(among(blobs.c.digest, doomed)).values(kept=False))
            return doomed

    def all(self) -> Iterator[tuple[Digest, int]]:
        """In order of digest, in pages: no transaction stays open while the caller works."""
        last = ""
        while True:
            question = select(blobs.c.digest, blobs.c.size).where(blobs.c.digest > last, blobs.c.kept)
            with self._db.read() as connection:
                page = [(row.digest, row.size)
                        for row in connection.execute(question.order_by(blobs.c.digest).limit(_PAGE))]
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def holders(self, digests: Iterable[Digest], viewer: Actor) -> dict[Digest, Repo]:
        question = (select(repos, repo_blobs.c.digest).join(repo_blobs, repo_blobs.c.repo_id == repos.c.id)
                    .where(among(repo_blobs.c.digest, digests), visible(viewer)).order_by(repos.c.id.desc()))
        with self._db.read() as connection:
            return {row.digest: as_repo(row) for row in connection.execute(question)}

    def findings(self, digests: Iterable[Digest]) -> dict[Digest, Finding]:
        with self._db.read() as connection:
            rows = connection.execute(select(findings).where(among(findings.c.digest, digests)))
            return {row.digest: Finding(row.path, row.level, row.reason) for row in rows}

    def found(self, digest: Digest, finding: Finding) -> None:
        """Replaces an older finding. Of bytes that were swept meanwhile nothing is noted: there is nothing to say."""
        values = {"path": finding.path, "level": finding.level, "reason": finding.reason, "at": self._db.now()}
        with self._db.write() as connection:
            lock = select(blobs.c.digest).where(blobs.c.digest == digest).with_for_update(read=True, key_share=True)
            if connection.scalar(lock) is not None:
                row = insert(connection, findings).values(digest=digest, **values)
                connection.execute(row.on_conflict_do_update(index_elements=["digest"], set_=values))


def _lock_if(connection: Connection, digest: Digest, condition: ColumnElement[bool]) -> int | None:
    """The blob's size, its row held to the end of the transaction; None if others hold it or the condition fails.

    Two questions on purpose: PostgreSQL answers the second from after the lock was taken.
    """
    mine = blobs.c.digest == digest
    if connection.scalar(select(blobs.c.digest).where(mine).with_for_update(skip_locked=True)) is None:
        return None
    return connection.scalar(select(blobs.c.size).where(mine, condition))
