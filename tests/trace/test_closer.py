"""A model that its fingerprint says nothing of, found by the whole files. The app of this process, jobs run by hand."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from disguises import new_embeddings
from sqlalchemy import text
from test_lineage import new_world, quiet
from trace_made import made, noisy, permuted, rotated, save_gguf, save_hf

from headwater.core.types import ANYONE
from headwater.trace import closer, lineage
from headwater.trace.forest import forest_of

SHAPE = {"d": 64, "f": 256, "layers": 6, "vocabulary": 1600}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder, base = tmp_path_factory.mktemp("models"), made(0, **SHAPE)
    hidden = permuted(rotated(new_embeddings(noisy(base, 0.05))))
    return {"base": save_hf(folder / "base", base), "tuned": save_hf(folder / "tuned", noisy(base, 0.1, seed=3)),
            "hidden": save_gguf(folder / "hidden", hidden), "stranger": save_hf(folder / "stranger", made(9, **SHAPE)),
            "wide": save_hf(folder / "wide", made(8, d=96, layers=2, vocabulary=1600))}


@pytest.fixture
def world(tmp_path):
    with new_world(tmp_path) as world:
        yield world


def push(world, folders, *names, **more):
    repos = {}
    for name in names:
        repos[name] = world.push(name, folders[name], **more)
        said = world.read(repos[name])
    return repos, said


def run_waiting(world, most=8, most_bytes=10**9):
    """The results of the jobs that wait, newest last."""
    jobs, found = world.app.hub.jobs, []
    for job in reversed(jobs.list(state="queued", kind="trace-closer")):
        found.append(closer.closer_job(world.trace, most, most_bytes)(job.payload, quiet))
        jobs.cancel(job.id)
    return found


def test_a_model_whose_words_are_all_new_and_whose_stream_was_turned_still_finds_its_parent(world, folders):
    repos, said = push(world, folders, "stranger", "base", "tuned", "hidden")
    assert said["look_closer"] is True and world.of(repos["hidden"]).closest is None
    # The stranger and the base's family: one of each is compared, and of the family that is found its nearest too.
    *_, found = run_waiting(world)
    assert found == {"compared": 2, "kin": True, "beside": 1}
    family = world.of(repos["hidden"])
    assert {r.repo for r in family.kin} == {"local/tuned", "local/base"}
    near = family.closest
    assert near.verdict == "descends" and near.agreement > 0.9 and "embeddings replaced" in near.judgement["operation"]
    assert near.judgement["would_change"] == "A third model that both come from."
    assert near.judgement["null"] == {"n": 195, "max": near.judgement["null"]["max"], "as_high": 0,
                                      "kind": "whole files"}
    assert {"local/hidden"} <= {r.repo for r in world.of(repos["base"]).kin}
    assert {"local/hidden", "local/base"} <= {end for link in forest_of(world.trace, world.me).links
                                              for end in (link.source, link.target)}
    # Read again, nothing is lost, and it has kin now.
    world.read(repos["hidden"], again=True)
    assert world.of(repos["hidden"]).closest.repo == near.repo
    assert closer.candidates(world.trace, world.trace.records.at(repos["hidden"], repos["hidden"].head), 8) == []


def test_what_was_found_is_found_again_when_the_versions_move_whoever_is_read_first(world, folders, monkeypatch):
    repos, _ = push(world, folders, "stranger", "base", "tuned", "hidden")
    run_waiting(world)
    with world.app.records.engine.begin() as connection:  # as an older version left them
        for table in ("fingerprints", "edges", "wholes"):
            connection.execute(text(f"UPDATE {table} SET version = version - 1"))
    assert world.of(repos["hidden"]).status.state == "not-yet-read"
    assert world.read(repos["hidden"])["look_closer"] is True
    assert [job["kin"] for job in run_waiting(world)] == [True]
    for name in ("base", "tuned", "stranger"):
        world.read(repos[name])
    assert {r.repo for r in world.of(repos["hidden"]).kin} == {"local/tuned", "local/base"}


def test_a_stranger_is_compared_once_and_called_kin_of_nobody(world, folders):
    repos, said = push(world, folders, "base", "tuned", "wide", "stranger")
    assert said["look_closer"] is True
    waiting, = world.app.hub.jobs.list(state="queued", kind="trace-closer")[:1]
    assert world.of(repos["stranger"]).closer == lineage.Closer(waiting.id, ())
    *_, found = run_waiting(world)
    assert found == {"compared": 1, "kin": False}  # one of the family, none of another width
    family = world.of(repos["stranger"])
    assert family.closest is None and family.closer == lineage.Closer(None, ("local/base",))
    assert family.nearest_unrelated is not None
    said = world.read(repos["stranger"], again=True)
    assert "look_closer" not in said


def test_a_model_with_kin_and_one_alone_are_not_looked_at_closer(world, folders):
    assert "look_closer" not in push(world, folders, "base")[1]
    assert "look_closer" not in push(world, folders, "tuned")[1]


def test_what_is_too_large_is_left_out_and_said(world, folders):
    push(world, folders, "base", "stranger")
    assert run_waiting(world, most_bytes=1000) == [
        {"compared": 0, "kin": False, "why": "1 have more bytes than trace_closer_max_bytes leaves"}]


def test_kin_found_with_a_private_model_is_told_to_those_who_may_read_it(world, folders):
    base = world.push("base", folders["base"], private=True)
    world.read(base)
    hidden, _ = push(world, folders, "hidden")
    run_waiting(world)
    assert [r.repo for r in world.of(hidden["hidden"]).kin] == ["local/base"]
    told = world.of(hidden["hidden"], ANYONE)
    assert told.kin == () and "local/base" not in str(asdict(told))


def test_of_many_those_whose_neurons_have_norms_like_its_own_are_compared_first(world, folders, tmp_path):
    """However they are turned, shuffled and rounded, and whoever came first."""
    for seed in range(20, 25):
        world.read(world.push(f"stranger{seed}", save_hf(tmp_path / str(seed), made(seed, **SHAPE))))
    base = world.push("base", folders["base"])
    world.read(base)
    hidden, _ = push(world, folders, "hidden")
    kept = world.trace.records.at(hidden["hidden"], hidden["hidden"].head)
    assert closer.candidates(world.trace, kept, 1) == [world.trace.records.at(base, base.head).id]
    assert len(closer.candidates(world.trace, kept, 9)) == 6


def test_a_declared_base_is_compared_first(world, folders):
    push(world, folders, "base", "stranger")
    hidden = world.push("hidden", folders["hidden"], card="base_model: local/stranger\n")
    world.read(hidden)
    kept = world.trace.records.at(hidden, hidden.head)
    first, *_ = closer.candidates(world.trace, kept, 8)
    stranger = world.hub.repos.find(hidden.kind, "local", "stranger")
    assert first == world.trace.records.at(stranger, stranger.head).id
