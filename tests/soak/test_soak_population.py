"""A hub of models trained apart, and then every descendant of theirs, disguised and undeclared: each finds its family.

The hub does it alone, as it does for any upload: fingerprints, and whole files where those say nothing. Of strangers,
each trained apart from all others, none is given kin.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "trace"))

pytestmark = pytest.mark.soak
SECTION = ("A hub of strangers and their descendants",
           "62 tiny models trained apart are uploaded to one hub, then 190 descendants of twenty of them, each through "
           "one to eight random disguises (of 20 all words were replaced before); no card names a parent. What the "
           "hub finds by itself: fingerprints, and up to 100 whole files where those say nothing.")


@pytest.fixture(scope="module")
def words():
    from calibrate import text

    return text.bodies()[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory, words):
    """With the models trained apart in it, read, and their closer looks done."""
    from test_lineage import new_world

    from calibrate import FOLDER, populations
    from calibrate.disguise import made_of

    apart = populations.independents()
    populations.make(FOLDER, [*populations.descendants(), *apart])
    with new_world(tmp_path_factory.mktemp("hub")) as world:
        for plan, (_, params) in zip(apart, populations.load(FOLDER, [p.name for p in apart]), strict=True):
            put(world, plan.name, made_of(params, words), most=4)
        yield world


def put(world, name, model, most):
    """Upload, read, look closer at `most` others: what its page would say."""
    from test_lineage import quiet

    from calibrate.disguise import files_of
    from headwater.trace import closer

    folder = world.folder / name.replace("/", "-")
    folder.mkdir()
    for file, data in files_of(model).items():
        (folder / file).write_bytes(data)
    repo = world.push(folder.name, folder)
    world.read(repo)
    jobs = world.app.hub.jobs
    for job in jobs.list(state="queued", kind="trace-closer"):
        closer.closer_job(world.trace, most, 10**12)(job.payload, quiet)
        jobs.cancel(job.id)
    return world.of(repo)


@pytest.mark.timeout(1_200)
def test_of_models_trained_apart_none_is_given_kin(world, figures):
    from headwater.trace.forest import forest_of

    found = forest_of(world.trace, world.me)
    figures["models trained apart that are given kin"] = ("0", f"{len(found.links)} of {len(found.nodes)}")
    assert len(found.nodes) == 62 and not found.links


@pytest.mark.timeout(3_600)
def test_every_disguised_descendant_is_given_its_own_family_and_no_other(world, words, figures):
    from calibrate import FOLDER, populations
    from calibrate.disguise import compose, made_of

    plans = populations.descendants()
    loaded = populations.load(FOLDER, [p.name for p in plans])
    family = {}
    lost, wrong, closer = [], [], 0
    for number, (plan, (_, params)) in enumerate(zip(plans, loaded, strict=True)):
        drawn = compose(made_of(params, words), np.random.default_rng(70_000 + number), 16)
        shown = put(world, plan.name, drawn.model, most=100)
        base = plan.name.partition("/")[0]
        family[shown.repo] = base
        kin = (*shown.parents, *shown.kin, *shown.children)
        closer += any(r.judgement["null"]["kind"] == "whole files" for r in kin)
        of = {family.get(r.repo, r.repo.partition("/")[2]) for r in kin}
        if base not in of:
            lost.append((plan.name, drawn.names))
        if of - {base}:
            wrong.append((plan.name, of))
    count = len(plans)
    figures["descendants given their own family"] = ("all", f"{count - len(lost)} of {count}, {closer} by whole files")
    figures["descendants given another's family"] = ("0", f"{len(wrong)} of {count}")
    assert not wrong, wrong
    assert not lost, lost
