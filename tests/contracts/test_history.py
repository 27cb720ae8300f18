"""What every History keeps to: commits, trees and refs, and which bytes a repo names. SQLite and PostgreSQL."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_samples import HOUR, MAIN, digest, file, folder

from headwater.core.errors import BadInput, EntryNotFound, RepoNotFound, RevisionNotFound
from headwater.core.types import EMPTY_TREE, Entry, EntryKind, Ref, Stale, Tree
from headwater.hub.git import make_commit, make_tree
from headwater.storage.records import _body


def test_a_commit_is_read_back_as_it_was_written(world):
    repo = world.repo()
    world.keep(repo, "a", "deep")
    inner = make_tree([file("深.txt", "deep")])
    root = make_tree([file("a", "a"), folder("sub", inner)])
    commit = world.commit(repo, root, [inner, root], title="tête\n\x0b", parents=None)
    assert world.records.history.commit(repo, commit.oid) == commit
    assert world.records.history.trees([root.oid, inner.oid, "0" * 40]) == {root.oid: root, inner.oid: inner}
    fresh = world.records.repos.get(repo.id)
    assert (fresh.head, fresh.size_bytes, world.head(repo)) == (commit.oid, 1, commit.oid)
    assert world.records.history.digests(repo) == {digest("a"): 1, digest("deep"): 4}


def test_a_commit_on_another_branch_leaves_what_is_shown_of_main(world):
    repo = world.repo()
    world.push(repo, {"a": "1"})
    before = world.records.repos.get(repo.id)
    world.clock.at += 5
    world.push(repo, {"b": "22"}, ref="refs/heads/dev", parents=(before.head,), expect=None)
    assert world.records.repos.get(repo.id) == before


def test_a_branch_that_moved_answers_where_it_is_and_nothing_is_written(world):
    repo = world.repo()
    old = world.head(repo)
    new = world.push(repo, {"a": "1"})
    tree = make_tree([file("b", "2")])
    late = make_commit(tree.oid, (old,), "ann", "a@b", "late", "", 1)
    said = {"commit": late, "trees": [tree], "size_bytes": 1, "by": world.me}
    events = world.records.bus.pending()
    assert world.records.history.advance(repo, MAIN, expect=old, **said) == Stale(new.oid)
    assert world.records.history.advance(repo, MAIN, expect=None, **said) == Stale(new.oid)
    assert world.records.history.advance(repo, "refs/heads/dev", expect=old, **said) == Stale(None)
    assert world.records.history.commit(repo, late.oid) is None and world.head(repo) == new.oid
    assert world.records.bus.pending() == events


def test_a_commit_naming_bytes_that_are_not_kept_is_refused_whole(world):
    repo = world.repo()
    head = world.head(repo)
    world.records.holdings.grant(repo, digest("promised"), 8, seconds=HOUR)  # and never kept
    for content in ("promised", "never heard of"):
        tree = make_tree([file("a", content)])
        with pytest.raises(EntryNotFound, match=digest(content)):
            world.commit(repo, tree, [tree])
    assert world.head(repo) == head and world.records.history.digests(repo) == {}


def test_a_commit_naming_a_folder_the_repo_does_not_have_is_refused(world):
    repo, other = world.repo(), world.repo("other")
    world.keep(other, "x")
    inner = make_tree([file("x", "x")])
    world.commit(other, inner, [inner])
    root = make_tree([folder("sub", inner)])
    with pytest.raises(EntryNotFound, match=inner.oid):
        world.commit(repo, root, [root])  # it is in another repo, whose bytes this one has not proved


def test_a_commit_to_a_repo_deleted_meanwhile_says_so(world):
    repo = world.repo()
    world.keep(repo, "1")
    world.records.repos.delete(repo, by=world.me)
    tree = make_tree([file("a", "1")])
    with pytest.raises(RepoNotFound):
        world.commit(repo, tree, [tree])


def test_history_is_counted_and_paged_by_first_parent(world):
    repo = world.repo()
    commits = [world.push(repo, {"a": str(n)}, title=f"c{n}") for n in range(7)]
    side = world.push(repo, {"s": "s"}, ref="refs/heads/side", parents=(commits[0].oid,), expect=None)
    merge = world.push(repo, {"m": "m"}, parents=(commits[-1].oid, side.oid), title="merge")
    log = world.records.history.log
    assert [c.title for c in log(repo, merge.oid)] == ["merge", *(f"c{n}" for n in range(6, -1, -1)), "initial commit"]
    assert [c.title for c in log(repo, merge.oid, skip=2, limit=3)] == ["c5", "c4", "c3"]
    assert log(repo, merge.oid, skip=9) == [] == log(repo, "0" * 40)
    assert world.records.history.count(repo, merge.oid) == 9
    assert world.records.history.count(repo, side.oid) == 3 and world.records.history.count(repo, "0" * 40) == 0


def test_a_short_revision_finds_at_most_two(world):
    repo = world.repo()
    commits = [world.push(repo, {"a": str(n)}) for n in range(20)]
    find = world.records.history.find_commits
    assert find(repo, commits[3].oid) == [commits[3].oid] == find(repo, commits[3].oid[:20])
    assert len(find(repo, "")) == 2 and find(repo, "%") == [] == find(repo, "zz")
    assert find(world.repo("other"), commits[3].oid[:8]) == []


def test_branches_and_tags_are_placed_where_the_repo_has_a_commit(world):
    repo, other = world.repo(), world.repo("other")
    foreign = world.push(other, {"a": "1"})
    place = world.records.history.place
    assert place(repo, Ref("refs/heads/dev", repo.head), by=world.me)
    assert place(repo, Ref("refs/tags/v1", repo.head, "first"), by=world.me)
    assert not place(repo, Ref("refs/tags/v1", repo.head), by=world.me)
    with pytest.raises(RevisionNotFound):
        place(repo, Ref("refs/tags/v2", foreign.oid), by=world.me)
    assert world.records.history.refs(repo) == [
        Ref("refs/heads/dev", repo.head), Ref(MAIN, repo.head), Ref("refs/tags/v1", repo.head, "first")]
    assert world.records.history.remove(repo, "refs/tags/v1", by=world.me)
    assert not world.records.history.remove(repo, "refs/tags/v1", by=world.me)
    with pytest.raises(BadInput):
        world.records.history.remove(repo, MAIN, by=world.me)


def test_removing_a_branch_forgets_only_what_it_alone_reached(world):
    repo = world.repo()
    shared = world.push(repo, {"a": "both"})
    world.push(repo, {"a": "both", "b": "dev only"}, ref="refs/heads/dev", parents=(shared.oid,), expect=None)
    lost = world.push(repo, {"c": "dev too"}, ref="refs/heads/dev")
    tagged = world.push(repo, {"t": "tagged"}, ref="refs/heads/dev")
    world.records.history.place(repo, Ref("refs/tags/t", tagged.oid), by=world.me)
    world.records.history.remove(repo, "refs/heads/dev", by=world.me)
    assert len(world.records.history.digests(repo)) == 4  # the tag holds all of it
    world.records.history.remove(repo, "refs/tags/t", by=world.me)
    assert world.records.history.digests(repo) == {digest("both"): 4}
    assert world.records.history.commit(repo, lost.oid) is None and world.records.history.trees([lost.tree]) == {}
    assert world.records.history.count(repo, shared.oid) == 2


def test_a_squash_frees_what_only_the_old_history_named(world):
    repo = world.repo()
    for n in range(3):
        head = world.push(repo, {"a": f"version {n}"})
    world.push(repo, {"a": "version 0"}, ref="refs/heads/old", parents=(head.oid,), expect=None)
    world.records.history.remove(repo, "refs/heads/old", by=world.me)
    squashed = make_commit(head.tree, (), "ann", "a@b", "squashed", "", 5)
    assert world.records.history.advance(repo, MAIN, expect=head.oid, commit=squashed, trees=(), size_bytes=9,
                                         by=world.me, action="squash") is None
    assert world.records.history.digests(repo) == {digest("version 2"): 9}
    assert world.records.history.log(repo, squashed.oid) == [squashed]
    assert world.records.history.commit(repo, head.oid) is None
    # the empty tree is still there to begin a branch at
    empty = make_commit(EMPTY_TREE, (), "ann", "a@b", "empty", "", 6)
    assert world.records.history.advance(repo, "refs/heads/new", expect=None, commit=empty, trees=(), size_bytes=0,
                                         by=world.me) is None


def test_a_tree_two_repos_share_survives_the_deletion_of_either(world):
    one, two = world.repo("one"), world.repo("two")
    world.push(one, {"a": "same"})
    commit = world.push(two, {"a": "same"})
    world.records.repos.delete(one, by=world.me)
    assert world.records.history.trees([commit.tree])[commit.tree].entries == (file("a", "same"),)
    assert world.records.history.digests(two) == {digest("same"): 4}


def test_f3_of_commits_with_the_same_parent_exactly_one_wins_and_none_is_lost(world):
    repo = world.repo()
    threads, rounds, won, troubles = 6, 5, [], []

    def work(me):
        for n in range(rounds):
            world.keep(repo, f"{me} {n}")
            tree = make_tree([file("a", f"{me} {n}")])
            while True:
                head = world.head(repo)
                commit = make_commit(tree.oid, (head,), f"t{me}", "a@b", f"{me} {n}", "", n)
                stale = world.records.history.advance(repo, MAIN, expect=head, commit=commit, trees=[tree],
                                                      size_bytes=1, by=world.me)
                if stale is None:
                    won.append((head, commit.oid))
                    break
                assert stale.found != head

    def guarded(me):
        try:
            work(me)
        except BaseException as error:  # a thread's error must reach the test
            troubles.append(error)

    workers = [threading.Thread(target=guarded, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not troubles
    log = world.records.history.log(repo, world.head(repo), limit=100)
    assert len(log) == threads * rounds + 1 and {c.oid for c in log[:-1]} == {new for _, new in won}
    assert len({parent for parent, _ in won}) == len(won)  # one winner for each parent
    assert {c.title for c in log[:-1]} == {f"{t} {n}" for t in range(threads) for n in range(rounds)}


# --- a directory as a row

_NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=20)
_HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
_FILES = st.builds(lambda n, d, s, lfs: Entry(n, EntryKind.FILE, d[:40], s, d, lfs), _NAMES, _HEX,
                   st.integers(0, 2**62), st.booleans())
_FOLDERS = st.builds(lambda n, d: Entry(n, EntryKind.DIRECTORY, d[:40]), _NAMES, _HEX)


@given(st.lists(_FILES | _FOLDERS, max_size=20))
def test_a_directory_comes_back_from_its_row_as_it_was(entries):
    tree = Tree("0" * 40, tuple(entries))
    body = _body.pack(tree)
    assert _body.unpack(tree.oid, body) == tree
    folders = [e.oid for e in entries if e.kind is EntryKind.DIRECTORY]
    assert _body.points_to(body) == (folders, [e.digest for e in entries if e.digest])


@pytest.mark.parametrize("change", [{"digest": None}, {"kind": EntryKind.DIRECTORY}, {"path": "a/b"}])
def test_an_entry_that_cannot_stand_in_a_tree_is_refused(change):
    with pytest.raises(ValueError, match="cannot stand in a tree"):
        _body.pack(Tree("0" * 40, (dataclasses.replace(file("a", "1"), **change),)))
