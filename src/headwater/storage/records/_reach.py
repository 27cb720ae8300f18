"""What a repo still reaches from its refs, and forgetting the rest. Knows commits and trees, no verbs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from sqlalchemy import Connection, delete, select

from headwater.core.types import EMPTY_TREE, Digest, Oid
from headwater.storage.database import among
from headwater.storage.records import _body
from headwater.storage.tables import commits, refs, repo_blobs, trees

_BATCH = 500


def forget_unreachable(connection: Connection, repo_id: int) -> None:
    """Remove commits and trees no ref leads to, and the names of bytes only they held.

    The caller holds the repo's row, so no commit comes in between. Time grows with the trees still reached (some 3
    seconds for 1,000 commits to a directory of 10,000 files); nothing is walked when every commit is still reached.
    """
    live, dead = _commits(connection, repo_id)
    if not dead:
        return
    live_trees, live_digests = _walk(connection, repo_id, live.values())
    connection.execute(delete(commits).where(commits.c.repo_id == repo_id, among(commits.c.oid, dead)))
    kept = connection.scalars(select(trees.c.oid).where(trees.c.repo_id == repo_id))
    # The empty tree stays: a branch may begin at it at any time.
    gone = [oid for oid in kept if oid not in live_trees and oid != EMPTY_TREE]
    connection.execute(delete(trees).where(trees.c.repo_id == repo_id, among(trees.c.oid, gone)))
    named = connection.scalars(select(repo_blobs.c.digest).where(repo_blobs.c.repo_id == repo_id))
    lost = [digest for digest in named if digest not in live_digests]
    connection.execute(delete(repo_blobs).where(repo_blobs.c.repo_id == repo_id, among(repo_blobs.c.digest, lost)))


def _commits(connection: Connection, repo_id: int) -> tuple[dict[Oid, Oid], set[Oid]]:
    """(live commits and their root trees, dead commits)."""
    rows = connection.execute(select(commits.c.oid, commits.c.tree, commits.c.parents)
                              .where(commits.c.repo_id == repo_id))
    known = {oid: (tree, parents.split()) for oid, tree, parents in rows}
    heads = connection.scalars(select(refs.c.commit).where(refs.c.repo_id == repo_id))
    live: dict[Oid, Oid] = {}
    ahead = [oid for oid in heads if oid in known]
    while ahead:
        oid = ahead.pop()
        if oid not in live:
            live[oid], parents = known[oid]
            ahead += [parent for parent in parents if parent in known]
    return live, known.keys() - live.keys()


def _walk(connection: Connection, repo_id: int, roots: Iterable[Oid]) -> tuple[set[Oid], set[Digest]]:
    """Every tree under the roots, and every digest they name."""
    ahead, seen = set(roots), set[Oid]()
    digests: set[Digest] = set()
    while ahead:
        seen |= ahead
        following: set[Oid] = set()
        for body in _bodies(connection, repo_id, ahead):
            folders, named = _body.points_to(body)
            following.update(folders)
            digests.update(named)
        ahead = following - seen
    return seen, digests


def _bodies(connection: Connection, repo_id: int, oids: Iterable[Oid]) -> Iterator[bytes]:
    """A few at a time: a directory of a million files is a row of 80 MB."""
    waiting = iter(oids)
    while batch := list(islice(waiting, _BATCH)):
        question = select(trees.c.body).where(trees.c.repo_id == repo_id, among(trees.c.oid, batch))
        yield from connection.scalars(question, execution_options={"yield_per": 8})
