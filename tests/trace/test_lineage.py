"""What a viewer is told of a family, and what not. The app of this process, its jobs run by hand."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from xml.dom import minidom

import pytest
from trace_made import made, noisy, permuted, print_of, rotated, save_gguf, save_hf

from headwater.app import open_app
from headwater.core.errors import NotFound
from headwater.core.settings import load
from headwater.core.types import ANYONE, Access, Actor, Kind
from headwater.core.work import Cancelled
from headwater.hub import repos as repo_verbs
from headwater.hub.accounts import create_user, local_owner, owner_actor
from headwater.hub.commit import Add, commit
from headwater.trace import fingerprint, judgement, lineage, work
from headwater.trace.forest import forest_of, graphml
from headwater.trace.work import trace_all_job, trace_job


def quiet(done, total=None, **more):
    pass


class World:
    def __init__(self, app, folder):
        self.app, self.hub, self.trace, self.folder = app, app.hub, app.trace, folder
        self.me = owner_actor(app.hub)

    def push(self, name, folder, private=False, card="license: mit\n"):
        repo = self.hub.repos.find(Kind.MODEL, self.me.name, name)
        if repo is None:
            repo = repo_verbs.create(self.hub, self.me, Kind.MODEL, self.me.name, name, private=private)
        files = [Add(p.name, p.read_bytes()) for p in folder.iterdir()]
        commit(self.hub, self.me, repo, "main", [*files, Add("README.md", f"---\n{card}---\n".encode())], title="x")
        return self.hub.repos.get(repo.id)

    def read(self, repo, progress=quiet, **more):
        return trace_job(self.trace)({"repo_id": repo.id, "revision": repo.head, **more}, progress)

    def of(self, repo, viewer=None):
        return lineage.lineage_of(self.trace, viewer or self.me, self.hub.repos.get(repo.id), repo.head)


@contextmanager
def new_world(folder):
    """A hub of its own in a folder; the app of this process, its jobs run by hand."""
    app = open_app(load(folder / "data", environ={}))
    local_owner(app.hub)
    yield World(app, folder)
    app.records.close()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder, base = tmp_path_factory.mktemp("models"), made(0, layers=1, vocabulary=1600)
    return {"base": save_hf(folder / "base", base),
            "child": save_gguf(folder / "child", permuted(rotated(noisy(base, 0.05))))}


@pytest.fixture
def world(tmp_path, folders):
    with new_world(tmp_path) as world:
        yield world


def test_an_edge_to_a_private_model_is_told_to_those_who_may_read_it_and_to_nobody_else(world, folders):
    base = world.push("base", folders["base"], private=True)
    child = world.push("child", folders["child"], card="base_model: local/base\n")
    world.read(base)
    assert world.read(child) == {"state": "read", "problem": None, "compared": 1}
    assert [r.repo for r in world.of(child).parents] == ["local/base"]
    eve = Actor(create_user(world.hub, world.me, "eve", password="correct horse battery"), Access.WRITE)
    for viewer in (ANYONE, eve):
        told = world.of(child, viewer)
        assert "local/base" not in str(asdict(told) | {"declared": ()})
        assert told.closest is None and told.nearest_unrelated is None and told.duties.duties == ()
        assert [(d.name, d.state) for d in told.declared] == [("local/base", "not-here")]
        assert [n.id for n in forest_of(world.trace, viewer).nodes] == ["local/child"]
        assert forest_of(world.trace, viewer).links == ()
        assert lineage.find_kin(world.trace, viewer, print_of(folders["base"]).to_bytes())[0].repo == "local/child"
        with pytest.raises(NotFound):
            lineage.find_readable(world.trace, viewer, "local/base")
    assert [(link.source, link.target, link.ordered) for link in forest_of(world.trace, world.me).links] == [
        ("local/base", "local/child", True)]


def test_a_dispute_with_a_private_model_is_not_told_either(world, folders):
    base, child = world.push("base", folders["base"], private=True), world.push("child", folders["child"])
    lineage.dispute(world.trace, world.me, child, base, "No.")
    assert len(world.of(child).disputes) == 1 and world.of(child, ANYONE).disputes == ()


def test_a_parent_that_is_deleted_leaves_no_edge(world, folders):
    base, child = world.push("base", folders["base"]), world.push("child", folders["child"])
    world.read(base), world.read(child)
    world.hub.repos.delete(base, by=world.me)
    world.trace.index.remove(world.trace.records.prune())
    assert world.of(child).parents == () and len(world.trace.index) == 1


def test_a_card_that_changes_costs_no_reading_and_a_repo_that_moves_keeps_its_family(world, folders, monkeypatch):
    base, child = world.push("base", folders["base"]), world.push("child", folders["child"])
    world.read(base), world.read(child)
    monkeypatch.setattr(work, "read_apart", None)
    child = world.push("child", folders["child"], card="license: gemma\n")
    assert world.read(child)["compared"] == 0
    repo_verbs.move(world.hub, world.me, base, "local", "renamed")
    assert [r.repo for r in world.of(child).parents] == ["local/renamed"]


def test_an_older_fingerprint_is_not_yet_read_and_is_made_again_with_its_edges(world, folders, monkeypatch):
    base, child = world.push("base", folders["base"]), world.push("child", folders["child"])
    world.read(base), world.read(child)
    old = world.of(child).parents[0].at
    monkeypatch.setattr(judgement, "VERSION", judgement.VERSION + 1)
    monkeypatch.setattr(work, "VERSION", fingerprint.VERSION + 1)
    monkeypatch.setattr(lineage, "VERSION", fingerprint.VERSION + 1)
    assert world.of(child).status.state == "not-yet-read"
    world.trace.jobs.register("trace", trace_job(world.trace))
    assert trace_all_job(world.trace)({}, quiet) == {"enqueued": 2}
    world.read(base), world.read(child)
    for job in world.trace.jobs.list(kind="trace"):
        world.trace.jobs.cancel(job.id)
    assert world.of(child).status.state == "read" and world.of(child).parents[0].at > old


def test_work_on_a_revision_that_main_has_left_is_passed_over_and_on_a_repo_that_is_gone_ends(world, folders):
    first = world.push("base", folders["base"])
    world.push("base", folders["base"], card="license: gemma\n")
    assert world.read(first)["state"] == "passed over"
    assert world.read(first, again=True)["state"] == "read"
    world.hub.repos.delete(first, by=world.me)
    assert world.read(first) is None


def test_a_cancelled_reading_leaves_nothing(world, folders):
    base = world.push("base", folders["base"])

    def stop(done, total=None, stage="", **more):
        if stage == "reading":
            raise Cancelled("cancel")

    with pytest.raises(Cancelled):
        world.read(base, stop)
    assert world.of(base).status.state == "not-yet-read" and world.trace.records.stamps() == {}


def test_a_lost_index_is_made_again_from_the_records(world, folders):
    base, child = world.push("base", folders["base"]), world.push("child", folders["child"])
    world.read(base)
    world.trace.index._empty()
    world.read(child)
    assert [r.repo for r in world.of(child).parents] == ["local/base"] and len(world.trace.index) == 2


def test_graphml_is_xml_whatever_names_and_notes_hold(world, folders):
    base = world.push("base", folders["base"])
    world.read(base)
    kept = world.trace.records.at(base, base.head)
    world.trace.records.keep(base, base.head, kept.files, version=kept.version, body=b"x", problem=None,
                             about={**kept.about, "declared": "<a & \"b\" \x00\x1b]]>", "layers": None})
    minidom.parseString("".join(graphml(forest_of(world.trace, ANYONE))).encode())


def test_a_grandparent_stands_behind_the_parent_also_where_both_agree(world, tmp_path):
    base = made(0, layers=1, vocabulary=1600)
    middle = noisy(base, 0.2)
    folders = (save_hf(tmp_path / "a", base), save_gguf(tmp_path / "b", middle, "Q8_0"),
               save_gguf(tmp_path / "c", noisy(middle, 0.2, seed=8), "Q4_0"))
    repos = [world.push(name, folder) for name, folder in zip(("base", "middle", "grandchild"), folders, strict=True)]
    for repo in repos:
        world.read(repo)
    found = world.of(repos[2])
    assert found.closest.repo == "local/middle" and found.closest.direct
    behind = [r for r in (*found.parents, *found.kin) if r.repo == "local/base"]
    assert [r.direct for r in behind] == [False]
    assert {r.repo for r in world.of(repos[1]).kin} == {"local/base", "local/grandchild"}
    assert found.closest.order == "open" and found.offer is None  # trained and rounded: neither is shown to be first
