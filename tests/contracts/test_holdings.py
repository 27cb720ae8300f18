"""What every Holdings keeps to: leases, who may name which bytes, the sweep. SQLite and PostgreSQL."""

from __future__ import annotations

import threading
import time

import pytest
from record_samples import HOUR, MAIN, digest, file

from headwater.core.errors import Conflict, EntryNotFound
from headwater.core.types import ANYONE, Finding
from headwater.hub.git import make_commit, make_tree
from headwater.storage.tables import blobs, leases


def sizes(world, repo, *contents):
    return world.records.holdings.sizes(repo, [digest(c) for c in contents])


def test_a_repo_may_name_what_was_uploaded_to_it_lately_or_is_in_its_history(world):
    repo, other = world.repo(), world.repo("other")
    world.records.holdings.grant(repo, digest("coming"), 6, seconds=HOUR)
    world.keep(repo, "leased")
    world.push(repo, {"a": "named"})
    assert sizes(world, repo, "coming", "leased", "named", "unheard of") == {digest("leased"): 6, digest("named"): 5}
    assert sizes(world, other, "leased", "named") == {}  # kept, but never proved to this repo
    world.clock.at += HOUR
    assert sizes(world, repo, "leased", "named") == {digest("named"): 5}


def test_bytes_are_lost_until_they_are_kept_and_when_they_are_swept_whoever_sent_them(world):
    repo, asked = world.repo(), [digest(c) for c in ("kept", "coming", "unheard of")]
    world.keep(repo, "kept", seconds=HOUR)
    world.records.holdings.grant(repo, digest("coming"), 6, seconds=HOUR)
    assert world.records.holdings.lost(asked) == {digest("coming"), digest("unheard of")}
    world.clock.at += 2 * HOUR
    world.sweep()
    assert world.records.holdings.lost(asked) == set(asked)
    assert world.records.holdings.lost([]) == set()


def test_of_bytes_the_oldest_repo_a_viewer_may_read_is_named(world):
    one, two, hidden = world.repo(), world.repo("two"), world.repo("hidden", private=True)
    for repo in (two, one):
        world.push(repo, {"a": "same"})
    world.push(hidden, {"a": "secret"})
    world.keep(one, "leased")
    asked = [digest(c) for c in ("same", "secret", "leased", "unheard of")]
    found = world.records.holdings.holders(asked, ANYONE)
    assert {d: r.id for d, r in found.items()} == {digest("same"): min(one.id, two.id)}
    assert world.records.holdings.holders(asked, world.me).keys() == {digest("same"), digest("secret")}


def test_a_lease_is_extended_and_never_shortened(world):
    repo = world.repo()
    world.keep(repo, "a", seconds=HOUR)
    world.keep(repo, "a", seconds=10)
    world.clock.at += 60
    assert sizes(world, repo, "a")
    world.keep(repo, "a", seconds=HOUR)
    world.clock.at += HOUR - 1
    assert sizes(world, repo, "a")


def test_the_sweep_takes_what_nobody_names_or_leases_and_nothing_else(world):
    repo = world.repo()
    world.push(repo, {"a": "named"})
    world.keep(repo, "leased", seconds=3 * HOUR)
    world.keep(repo, "forgotten", seconds=60)
    world.records.holdings.grant(repo, digest("never came"), 9, seconds=60)
    world.clock.at += 2 * HOUR
    assert world.sweep(grace_s=3 * HOUR) == set()
    assert world.sweep(grace_s=HOUR) == {digest("forgotten"), digest("never came")}
    assert world.sweep() == set()
    assert dict(world.records.holdings.all()) == {digest("named"): 5, digest("leased"): 6}


def test_the_grace_runs_from_the_newest_grant(world):
    repo = world.repo()
    world.keep(repo, "a", seconds=1)
    world.clock.at += 3 * HOUR
    world.keep(repo, "a", seconds=1)
    world.clock.at += HOUR
    assert world.sweep(grace_s=2 * HOUR) == set()
    world.clock.at += HOUR
    assert world.sweep(grace_s=2 * HOUR) == {digest("a")}


def test_the_sweep_stops_at_its_limit_and_goes_on_next_time(world):
    repo = world.repo()
    world.keep(repo, *map(str, range(10)), seconds=1)
    world.clock.at += 2
    assert [len(world.sweep(limit=4)) for _ in range(4)] == [4, 4, 2, 0]


def test_bytes_of_a_deleted_repo_go_unless_another_names_them(world):
    one, two = world.repo("one"), world.repo("two")
    world.push(one, {"a": "shared", "b": "alone"})
    world.push(two, {"a": "shared"})
    world.clock.at += 2 * HOUR
    world.records.repos.delete(one, by=world.me)
    assert world.sweep() == {digest("alone")}


def test_an_error_while_deleting_keeps_what_is_left_for_the_next_sweep(world):
    repo = world.repo()
    world.keep(repo, "a", "b", seconds=1)
    world.clock.at += 2
    gone = []

    def fail_at_second(digest):
        if gone:
            raise OSError("the disk says no")
        gone.append(digest)

    with pytest.raises(OSError, match="the disk says no"):
        world.records.holdings.sweep(grace_s=0, limit=10, delete=fail_at_second)
    # The bytes may or may not be there: nobody is told that they are, until they are uploaded again.
    assert dict(world.records.holdings.all()) == {}
    assert world.sweep() == {digest("a"), digest("b")} - set(gone)


def test_bytes_doomed_by_a_broken_sweep_are_good_again_once_uploaded(world):
    repo = world.repo()
    world.keep(repo, "a", seconds=1)
    world.clock.at += 2
    with pytest.raises(KeyboardInterrupt):
        world.records.holdings.sweep(grace_s=0, limit=1, delete=lambda digest: (_ for _ in ()).throw(KeyboardInterrupt))
    assert sizes(world, repo, "a") == {}
    world.push(repo, {"a": "a"})
    assert sizes(world, repo, "a") == {digest("a"): 1} and world.sweep() == set()


def test_bytes_that_come_after_the_sweep_took_their_lease_are_refused(world):
    repo = world.repo()
    world.records.holdings.grant(repo, digest("slow"), 4, seconds=1)
    world.clock.at += 2
    world.sweep()
    with pytest.raises(Conflict):
        world.records.holdings.kept(digest("slow"))


def test_all_that_is_kept_is_listed_across_pages(world, monkeypatch):
    monkeypatch.setattr("headwater.storage.records.holdings._PAGE", 3)
    world.keep(world.repo(), *map(str, range(7)))
    assert dict(world.records.holdings.all()) == {digest(str(n)): 1 for n in range(7)}


def test_findings_are_kept_by_digest_and_go_with_the_bytes(world):
    repo = world.repo()
    world.keep(repo, "a", "b", seconds=1)
    old, new = Finding("a.pkl", "safe", ""), Finding("a.pkl", "dangerous", "os.system")
    world.records.holdings.found(digest("a"), old)
    world.records.holdings.found(digest("a"), new)
    world.records.holdings.found(digest("not here"), new)
    assert world.records.holdings.findings(map(digest, ["a", "b", "not here"])) == {digest("a"): new}
    world.clock.at += 2
    world.sweep()
    assert world.records.holdings.findings([digest("a")]) == {}


# --- the sweep against others


class Shelf:
    """A blob store as far as the sweep is concerned: a set of digests, each verb a little slow."""

    def __init__(self):
        self.there, self._lock = set(), threading.Lock()

    def adopt(self, digest):
        time.sleep(0.0005)
        with self._lock:
            self.there.add(digest)

    def delete(self, digest):
        time.sleep(0.0005)
        with self._lock:
            self.there.discard(digest)


def run(*works, seconds=1.5):
    """Run works in threads until the time is over; each is called again and again. Their errors reach the test."""
    until, troubles = time.monotonic() + seconds, []

    def repeat(work):
        try:
            while time.monotonic() < until and not troubles:
                work()
        except BaseException as error:  # a thread's error must reach the test
            troubles.append(error)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]


def test_f6_a_sweep_racing_uploads_and_commits_of_the_same_bytes_loses_nothing(world):
    """No grace, and leases that end as soon as the bytes are kept: the sweep takes what it may, as early as it may."""
    shelf, holdings, history = Shelf(), world.records.holdings, world.records.history
    repos = [world.repo(f"r{n}") for n in range(3)]
    counts = {"commits": 0, "refused": 0, "swept": 0}
    contents = [f"content {n}" for n in range(4)]

    def uploader(repo):
        def upload():
            content = contents[time.perf_counter_ns() // 1000 % len(contents)]
            try:
                holdings.grant(repo, digest(content), len(content), seconds=HOUR)
                shelf.adopt(digest(content))
                holdings.kept(digest(content))
                tree = make_tree([file("a", content)])
                head = world.head(repo)
                commit = make_commit(tree.oid, (), "ann", "a@b", "t", "", time.perf_counter_ns())
                assert history.advance(repo, MAIN, expect=head, commit=commit, trees=[tree], size_bytes=1,
                                       by=world.me) is None
                counts["commits"] += 1
            except (EntryNotFound, Conflict):
                counts["refused"] += 1
                return
            # What was just committed is there, and stays while it is the head: nobody else writes to this repo.
            assert digest(content) in shelf.there
        return upload

    def sweep():
        counts["swept"] += len(holdings.sweep(grace_s=0, limit=10, delete=shelf.delete))

    run(*map(uploader, repos), sweep, expire(world))
    kept = dict(holdings.all())
    for repo in repos:
        named = history.digests(repo)
        assert named.keys() <= kept.keys() and named.keys() <= shelf.there
    assert counts["commits"] > 20 and counts["swept"] > 5, counts


def expire(world):
    """End every lease now and then. Not of bytes still on their way: a lease has to outlive that, in hub/ by a day."""
    def end():
        time.sleep(0.01)
        with world.records.database.write() as connection:
            kept = blobs.select().with_only_columns(blobs.c.digest).where(blobs.c.kept)
            connection.execute(leases.delete().where(leases.c.digest.in_(kept)))
    return end


def test_f6_a_sweep_racing_the_deletion_and_making_of_repos(world):
    shelf, holdings = Shelf(), world.records.holdings

    def churn(name):
        def live_and_die():
            repo = world.repo(name)
            holdings.grant(repo, digest("common"), 6, seconds=HOUR)
            shelf.adopt(digest("common"))
            holdings.kept(digest("common"))
            tree = make_tree([file("a", "common")])
            world.commit(repo, tree, [tree])
            assert digest("common") in shelf.there
            world.records.repos.delete(repo, by=world.me)
        return live_and_die

    run(churn("a"), churn("b"), lambda: holdings.sweep(grace_s=0, limit=10, delete=shelf.delete))
    holdings.sweep(grace_s=0, limit=10, delete=shelf.delete)
    assert shelf.there == set() and dict(holdings.all()) == {}
