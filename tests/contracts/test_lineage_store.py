"""What every Lineage keeps to: fingerprints beside revisions, edges, who may know of them. SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
from record_samples import HOUR, digest

from headwater.core.descent import Edge, Mixed, Whole
from headwater.core.errors import RepoNotFound
from headwater.core.types import ANYONE, Access, Actor, Kind


def keep(world, repo, revision, files, body=b"print", problem=None, version=1):
    return world.records.lineage.keep(repo, revision, digest(files), version=version, body=body, problem=problem,
                                      about={"layers": 3})


def edge(one, other, *, kin=True, version=1, says="descends", agreement=0.9):
    a, b = max(one.id, other.id), min(one.id, other.id)
    return Edge(a, b, kin, says, "a-from-b", agreement, version, {"verdict": says, "a": "é"})


@pytest.fixture
def lineage(world):
    return world.records.lineage


def test_a_fingerprint_is_kept_once_for_a_set_of_files_and_stands_at_many_revisions(world, lineage):
    one, two = world.repo(), world.repo("two")
    kept = keep(world, one, one.head, "w")
    assert lineage.at(one, one.head) == kept == lineage.find(digest("w")) == lineage.get([kept.id])[kept.id]
    assert lineage.at(two, two.head) is None
    assert lineage.place(two, two.head, kept)
    assert lineage.at(two, two.head) == kept
    assert lineage.bodies([kept.id, 999]) == {kept.id: b"print"} and lineage.stamps() == {kept.id: kept.at}
    assert {p.repo.name for p in lineage.places([kept.id], None)} == {"yi", "two"}


def test_a_newer_fingerprint_takes_the_place_of_an_older_and_one_that_cannot_be_read_says_why(world, lineage):
    repo = world.repo()
    old = keep(world, repo, repo.head, "w", body=None, problem="cannot read: byte 3")
    assert lineage.stamps() == {} and lineage.bodies([old.id]) == {} and lineage.find(digest("w")).problem
    world.clock.at += 1
    new = keep(world, repo, repo.head, "w", version=2)
    assert (new.id, new.version, new.problem) == (old.id, 2, None) and lineage.stamps() == {new.id: world.clock.at}


def test_of_each_repo_the_revision_at_main_is_told_and_else_the_newest(world, lineage):
    repo = world.repo()
    kept = keep(world, repo, repo.head, "w")
    world.clock.at += 1
    later = world.push(repo, {"README.md": "hi"})
    assert [(p.revision, p.head) for p in lineage.places([kept.id], None)] == [(repo.head, False)]
    assert lineage.place(repo, later.oid, kept)
    assert [(p.revision, p.head) for p in lineage.places([kept.id], None)] == [(later.oid, True)]
    assert [p.revision for p in lineage.heads(None, limit=5)] == [later.oid]


def test_a_repo_that_is_gone_takes_its_places_and_then_fingerprints_and_edges_go(world, lineage):
    one, two = world.repo(), world.repo("two")
    first, second = keep(world, one, one.head, "w"), keep(world, two, two.head, "v")
    lineage.judged([edge(first, second)], of=second.id, version=1)
    lineage.dispute(two, one, "We trained it.", by=world.me)
    assert lineage.prune() == []
    world.records.repos.delete(one, by=world.me)
    assert lineage.prune() == [first.id] and lineage.prune() == []
    assert lineage.edges([second.id], kin=None) == [] and lineage.disputes(two.id) == []
    assert keep(world, one, one.head, "x") is None and not lineage.place(one, one.head, second)
    assert not lineage.place(two, two.head, first)
    with pytest.raises(RepoNotFound):
        lineage.dispute(two, one, "again", by=world.me)


def test_revisions_that_history_lost_are_forgotten(world, lineage):
    repo = world.repo()
    old = keep(world, repo, "0" * 40, "old")
    kept = keep(world, repo, repo.head, "new")
    assert lineage.place(repo, repo.head, kept)
    assert lineage.places([old.id], None) == [] and lineage.prune() == [old.id]


def test_edges_are_replaced_by_pair_and_those_of_an_older_judging_are_forgotten(world, lineage):
    repos = [world.repo(name) for name in "abc"]
    a, b, c = (keep(world, repo, repo.head, repo.name) for repo in repos)
    lineage.judged([edge(b, a), edge(c, b)], of=b.id, version=1)
    lineage.judged([edge(c, a, kin=False, says="unrelated")], of=c.id, version=1)
    assert [(e.a_id, e.b_id) for e in lineage.edges([b.id])] == [(b.id, a.id), (c.id, b.id)]
    assert [e.verdict for e in lineage.edges([a.id], kin=False)] == ["unrelated"]
    assert len(lineage.edges([a.id], kin=None)) == 2
    lineage.judged([edge(b, a, agreement=0.5, version=2)], of=b.id, version=2)
    assert [(e.a_id, e.agreement, e.version) for e in lineage.edges([b.id])] == [(b.id, 0.5, 2)]
    assert lineage.edge(a.id, b.id) == lineage.edge(b.id, a.id) != lineage.edge(a.id, c.id)
    assert lineage.edge(a.id, b.id).judgement == {"verdict": "descends", "a": "é"}
    lineage.judged([], of=c.id, version=2)
    assert lineage.edge(a.id, c.id) is None
    gone = Edge(10**6, a.id, True, "descends", "unknown", None, 2, {})
    lineage.judged([gone], of=a.id, version=2)
    assert len(lineage.edges([a.id])) == 1


def test_what_stands_in_a_private_repo_is_told_to_those_who_may_read_it(world, lineage):
    shown, hidden = world.repo("shown"), world.repo("hidden", private=True)
    kept = keep(world, hidden, hidden.head, "w")
    assert lineage.place(shown, shown.head, kept)
    stranger = Actor(world.account("eve"), Access.WRITE)
    narrow = Actor(world.ann, Access.WRITE, repos=(shown.key,))
    for viewer, seen in ((ANYONE, {"shown"}), (stranger, {"shown"}), (narrow, {"shown"}),
                         (world.me, {"shown", "hidden"}), (None, {"shown", "hidden"})):
        assert {p.repo.name for p in lineage.places([kept.id], viewer)} == seen
        assert {p.repo.name for p in lineage.heads(viewer, limit=9)} == seen
    assert len(lineage.heads(None, limit=1)) == 1


def test_disputes_are_kept_in_order_and_noted_in_the_log(world, lineage):
    one, two, three = (world.repo(name) for name in "abc")
    first = lineage.dispute(one, two, "No.", by=world.me)
    world.clock.at += HOUR
    second = lineage.dispute(two, one, "Yes.", by=world.me)
    assert lineage.disputes(one.id) == lineage.disputes(two.id) == [first, second] and not lineage.disputes(three.id)
    assert (first.by, second.at - first.at) == ("ann", HOUR)
    assert world.records.accounts.audit(subject=one.key, limit=1)[0].action == "lineage.dispute"


def test_repos_whose_main_is_not_read_by_this_version_are_told_page_by_page(world, lineage):
    repos = [world.repo(name) for name in "abc"]
    world.repo("data", kind=Kind.DATASET)
    keep(world, repos[0], repos[0].head, "w", version=2)
    keep(world, repos[1], repos[1].head, "v", version=1)
    assert [r.name for r in lineage.unread(2)] == ["b", "c"] and [r.name for r in lineage.unread(1)] == ["a", "c"]
    assert [r.name for r in lineage.unread(2, limit=1)] == ["b"]
    assert [r.name for r in lineage.unread(2, after=repos[1].id)] == ["c"]
    world.push(repos[0], {"README.md": "hi"})
    assert len(lineage.unread(2)) == 3


def test_what_whole_files_show_is_kept_once_for_a_pair_and_goes_with_either(world, lineage):
    one, two = world.repo(), world.repo("two")
    first, second = keep(world, one, one.head, "w"), keep(world, two, two.head, "v")
    a, b = max(first.id, second.id), min(first.id, second.id)
    assert lineage.whole(a, b) is None and lineage.mixtures([a, b]) == {}
    assert lineage.compared(Whole(a, b, 1, {"agreement": 0.5})) and lineage.compared(Whole(a, b, 1, {"agreement": 1}))
    assert lineage.whole(b, a) == lineage.whole(a, b) == Whole(a, b, 1, {"agreement": 1}, world.clock.at)
    assert lineage.mixed(Mixed(a, 1, {"coefficients": {}})) and lineage.mixed(Mixed(a, 2, {"coefficients": {"9": 1}}))
    assert lineage.mixtures([a, b, 999]) == {a: Mixed(a, 2, {"coefficients": {"9": 1}}, world.clock.at)}
    for repo in (one, two):
        world.records.repos.delete(repo, by=world.me)
    assert set(lineage.prune()) == {a, b}
    assert lineage.whole(a, b) is None and lineage.mixtures([a]) == {}
    assert not lineage.compared(Whole(a, b, 1, {})) and not lineage.mixed(Mixed(a, 1, {}))


def test_those_compared_in_whole_with_one_are_told_and_those_of_its_shape_oldest_first(world, lineage):
    repos = [world.repo(name) for name in ("a", "b", "c", "d", "e")]
    shapes = [("gated", 64), ("gated", 64), ("plain", 64), ("gated", 96), ("gated", 64)]
    kept = [lineage.keep(repo, repo.head, digest(repo.name), version=1, body=b"x" if repo.name != "e" else None,
                         problem=None, about={"form": form, "width": width})
            for repo, (form, width) in zip(repos, shapes, strict=True)]
    assert lineage.shaped("gated", 64, limit=9) == kept[:2] and lineage.shaped("gated", 64, limit=1) == kept[:1]
    assert lineage.shaped("gated", 65, limit=9) == [] and lineage.compared_with(kept[0].id, version=1) == set()
    assert lineage.compared(Whole(kept[2].id, kept[0].id, 1, {})) and lineage.compared(
        Whole(kept[3].id, kept[2].id, 1, {}))
    assert lineage.compared_with(kept[2].id, version=1) == {kept[0].id, kept[3].id}
    assert lineage.compared_with(kept[0].id, version=1) == {kept[2].id}
    assert lineage.compared_with(kept[2].id, version=2) == set()


def test_edges_in_short_and_within_a_set_are_those_edges(world, lineage):
    repos = [world.repo(name) for name in "abc"]
    one, two, three = (keep(world, repo, repo.head, repo.name) for repo in repos)
    said = {"null": {"n": 7, "max": 0.25, "kind": "tiny"}, "operation": "quantised", "table": [[0.5]]}
    full = Edge(two.id, one.id, True, "descends", "a-from-b", 0.9, 1, said)
    lineage.judged([full, edge(three, two)], of=two.id, version=1)
    assert [(e.a_id, e.b_id) for e in lineage.edges([one.id, two.id], within=True)] == [(two.id, one.id)]
    short, bare = lineage.edges([two.id], brief=True)
    assert short.judgement == {"null": {"n": 7, "max": 0.25}, "operation": "quantised"}
    assert bare.judgement == {"null": {"n": 0, "max": 0.0}, "operation": None}
    assert (short.a_id, short.verdict, short.agreement) == (two.id, "descends", 0.9)


def test_the_mark_moves_with_whatever_a_tree_of_the_hub_shows(world, lineage):
    seen = [lineage.mark()]

    def moved():
        seen.append(lineage.mark())
        return seen[-1] not in seen[:-1]

    one, two = world.repo(), world.repo("two")
    assert moved() and not moved()
    kept = [keep(world, repo, repo.head, repo.name) for repo in (one, two)]
    assert moved()
    lineage.judged([edge(*kept)], of=kept[1].id, version=1)
    assert moved()
    lineage.mixed(Mixed(kept[0].id, 1, {"coefficients": {}}))
    assert moved()
    world.records.repos.set_private(one, True, by=world.me)
    assert moved()
    world.records.repos.move(two, "ann", "three", by=world.me)
    assert moved()
