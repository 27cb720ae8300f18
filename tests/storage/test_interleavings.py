"""The sweep meets an upload or a commit at the worst moment, made to happen. SQLite and PostgreSQL.

tests/contracts/test_holdings.py lets threads race and hopes; here each moment is met every time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from record_samples import HOUR, MAIN, digest, file
from sqlalchemy import event

from headwater.core.errors import EntryNotFound
from headwater.hub.git import make_commit, make_tree
from headwater.storage.records.holdings import SqlHoldings


@contextmanager
def just_before(engine, start: str, work: Callable[[], None]) -> Iterator[None]:
    """Run `work` once, right before the first statement of this thread that starts so."""
    me, done = threading.get_ident(), []

    def look(connection, cursor, statement, *_):
        if not done and threading.get_ident() == me and statement.startswith(start):
            done.append(True)
            work()

    event.listen(engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", look)
    assert done, f"no statement began with {start!r}"


class Beside:
    """Work in another thread: started at a moment, waited for a little, joined in the end."""

    def __init__(self, work: Callable[[], object]):
        self._thread, self.answer, self.error, self._work = threading.Thread(target=self._run), None, None, work

    def _run(self):
        try:
            self.answer = self._work()
        except Exception as error:  # handed to the test by join()
            self.error = error

    def start(self):
        self._thread.start()
        self._thread.join(0.3)  # either it is done by now, or it waits for us

    def join(self):
        self._thread.join(30)
        if self.error:
            raise self.error
        return self.answer

    @property
    def waits(self):
        return self._thread.is_alive()


@pytest.fixture
def store(world):
    """A repo with one content whose lease is over, and the set of digests whose bytes are there."""
    world.there = {digest("x")}
    world.yi = world.repo()
    world.keep(world.yi, "x", seconds=1)
    world.clock.at += 2
    return world


def sweep(world):
    return world.records.holdings.sweep(grace_s=0, limit=10, delete=world.there.discard)


def commit_x(world):
    tree = make_tree([file("a", "x")])
    return world.commit(world.yi, tree, [tree])


def upload_x(world):
    world.records.holdings.grant(world.yi, digest("x"), 1, seconds=HOUR)
    world.there.add(digest("x"))
    world.records.holdings.kept(digest("x"))


def test_a_sweep_that_begins_inside_a_commit_leaves_its_bytes(store):
    other = Beside(lambda: sweep(store))
    with just_before(store.records.engine, "INSERT INTO repo_blobs", other.start):
        commit_x(store)
    assert other.join() == [] and store.there == {digest("x")}


def test_a_commit_that_begins_while_its_bytes_are_deleted_is_refused(store):
    other = Beside(lambda: commit_x(store))

    def delete(name):
        other.start()
        assert other.waits or other.error, "the commit must not go by while the bytes it names are deleted"
        store.there.discard(name)

    store.records.holdings.sweep(grace_s=0, limit=10, delete=delete)
    with pytest.raises(EntryNotFound):
        other.join()
    assert store.head(store.yi) == store.yi.head


def test_an_upload_that_begins_while_the_same_bytes_are_deleted_waits_and_stays(store):
    other = Beside(lambda: upload_x(store))

    def delete(name):
        other.start()
        assert other.waits, "the bytes must not come while they are deleted"
        store.there.discard(name)

    store.records.holdings.sweep(grace_s=0, limit=10, delete=delete)
    other.join()
    commit_x(store)
    assert store.there == {digest("x")} and sweep(store) == []


@pytest.mark.parametrize("revive", [upload_x, lambda world: (upload_x(world), commit_x(world))])
def test_bytes_that_come_back_between_being_doomed_and_deleted_stay(store, monkeypatch, revive):
    doom = SqlHoldings._doom

    def doom_and_revive(self, *arguments):
        doomed = doom(self, *arguments)
        revive(store)
        return doomed

    monkeypatch.setattr(SqlHoldings, "_doom", doom_and_revive)
    assert sweep(store) == [] and store.there == {digest("x")}
    assert store.records.holdings.sizes(store.yi, [digest("x")])


def test_bytes_somebody_only_asked_to_bring_between_being_doomed_and_deleted_may_be_brought(store, monkeypatch):
    doom = SqlHoldings._doom

    def doom_and_grant(self, *arguments):
        doomed = doom(self, *arguments)
        store.records.holdings.grant(store.yi, digest("x"), 1, seconds=HOUR)
        return doomed

    monkeypatch.setattr(SqlHoldings, "_doom", doom_and_grant)
    assert sweep(store) == []
    with pytest.raises(EntryNotFound):
        commit_x(store)  # nobody said yet that the bytes came
    store.records.holdings.kept(digest("x"))
    commit_x(store)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_commit_done_after_the_sweep_looked_and_before_it_locked_is_seen(store):
    """On SQLite there is no such moment: the sweep holds the only write lock before it looks."""
    other = Beside(lambda: commit_x(store))

    def slow(connection, cursor, statement, parameters, context, many):
        # PostgreSQL looks at the database as of the start of the statement; the sleep is before the locking.
        if "SKIP LOCKED" in statement and "ORDER BY" in statement and "pg_sleep" not in statement:
            threading.Timer(0.2, other.start).start()
            return statement.replace("WHERE", "WHERE (SELECT pg_sleep(1)::text) IS NOT NULL AND", 1), parameters
        return statement, parameters

    event.listen(store.records.engine, "before_cursor_execute", slow, retval=True)
    gone = sweep(store)
    event.remove(store.records.engine, "before_cursor_execute", slow)
    other.join()
    assert gone == [] and store.there == {digest("x")}
    assert store.records.holdings.sizes(store.yi, [digest("x")])


def test_a_branch_removed_while_a_commit_waits_for_the_repo_frees_nothing_the_commit_names(store):
    """The commit was prepared on a branch's bytes; by the time it has the repo they may be gone, and it is told."""
    upload_x(store)
    tree = make_tree([file("a", "x")])
    store.commit(store.yi, tree, [tree], ref="refs/heads/dev", parents=(store.yi.head,), expect=None)
    store.clock.at += 2 * HOUR
    late = make_commit(tree.oid, (store.yi.head,), "ann", "a@b", "t", "", 1)
    other = Beside(lambda: store.records.history.advance(
        store.yi, MAIN, expect=store.yi.head, commit=late, trees=[tree], size_bytes=1, by=store.me))
    with just_before(store.records.engine, "DELETE FROM commits", other.start):
        store.records.history.remove(store.yi, "refs/heads/dev", by=store.me)
    assert other.join() is None
    assert sweep(store) == [] and store.records.history.digests(store.yi) == {digest("x"): 1}
