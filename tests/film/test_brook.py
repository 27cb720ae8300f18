"""Brook: the generator draws what the words say, the repo loads in diffusers, training goes on where it was stopped."""

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from clients import torch_python
from hypothesis import given, settings
from hypothesis import strategies as st

from brook import FRAMES, HERE, SIDE, card, world
from brook.cases import COUNTS, cases
from brook.measure import right
from brook.sight import see

pytestmark = pytest.mark.xdist_group("torch")  # one worker asks torch for all of them
REPO = Path(str(files("headwater"))) / "shipped" / "brook"


@pytest.fixture(scope="module")
def in_torch(tmp_path_factory) -> dict:
    script, folder = Path(__file__).with_name("brook_in_torch.py"), tmp_path_factory.mktemp("brook")
    done = subprocess.run([torch_python(), "-W", "ignore", script, REPO, folder], capture_output=True, text=True,
                          timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.integers(0, 2 ** 32 - 1))
def test_a_drawn_film_shows_what_its_words_say(seed):
    rng = np.random.default_rng(seed)
    of = world.scene(rng, None)
    film = world.film(of, rng)
    assert film.shape == (FRAMES, SIDE, SIDE, 3)
    for thing in of.things:
        seen = see(film, thing.colour if len(of.things) > 1 else None)
        assert (seen.colour, seen.shape, seen.ground) == (thing.colour, thing.shape, of.ground)
        assert seen.motion == thing.motion or thing.motion == "spins"
        if thing.pace:
            assert seen.pace == thing.pace


def test_nearly_every_drawn_film_of_the_cases_is_seen_as_it_was_asked_for():
    found = [right(case, case.film)["all"] for case in cases({"held out": 24, "two things": 8})]
    assert sum(found) >= 0.9 * len(found)


def test_an_empty_film_shows_nothing():
    assert see(np.full((FRAMES, SIDE, SIDE, 3), 20, np.uint8)).shape == "none"


def test_what_is_held_out_is_never_drawn_for_training():
    rng = np.random.default_rng(0)
    things = [thing for _ in range(500) for thing in world.scene(rng).things]
    assert not {(thing.colour, thing.shape) for thing in things} & set(world.HELD_OUT)


def test_every_word_said_is_in_the_vocabulary():
    rng, known = np.random.default_rng(1), set(world.vocabulary())
    said = {word for _ in range(500) for word in world.words(world.scene(rng, None), rng).split()}
    assert said <= known
    assert len(known) <= 50


def test_the_same_seed_asks_for_the_same_films():
    first, second = ([case.film.tobytes() for case in cases({"held out": 3, "seen": 2})] for _ in range(2))
    assert first == second
    few = {kind: 4 for kind in COUNTS}
    assert len({case.seed for case in cases(few)}) == sum(few.values())


def test_the_card_names_the_weights_by_their_hash():
    said = dict(re.findall(r"^\| (\S+\.safetensors) \| `(\w{64})` \|$", (REPO / "README.md").read_text(), re.M))
    assert said == card.weights(REPO)
    assert len(said) == 3
    assert sum(path.stat().st_size for path in REPO.rglob("*")) < 20_000_000


def test_card_and_page_are_what_the_figures_make_of_them():
    figures = json.loads((HERE / "figures.json").read_text())
    log = [json.loads(line) for line in (HERE / "log.jsonl").read_text().splitlines()]
    assert (REPO / "README.md").read_text() == card.card(REPO, figures, log)
    assert (HERE.parent / "docs" / "brook.md").read_text() == card.page(figures, log)


def test_diffusers_makes_the_same_film_twice_from_the_repo(in_torch):
    made = in_torch["clips"]
    assert made["classes"] == ["WanPipeline", "WanImageToVideoPipeline"]
    assert made["shape"] == [1, FRAMES, SIDE, SIDE, 3]
    assert made["digests"][0] == made["digests"][1]


def test_a_film_from_a_photo_begins_with_it(in_torch):
    assert in_torch["clips"]["psnr"] > 22


@pytest.mark.parametrize("part", ["autoencoder", "denoiser"])
def test_training_that_was_stopped_ends_where_an_unbroken_one_does(in_torch, part):
    unbroken, stopped = in_torch["trained"][part]
    assert unbroken == stopped


def test_what_is_trained_is_the_transformer_that_diffusers_runs(in_torch):
    assert in_torch["heard"] < 1e-4
