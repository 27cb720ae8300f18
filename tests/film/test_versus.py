"""Pairs of films without names, votes on them, and what the votes come to."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.types import FilmVote, KeptFile, KeptFilm
from headwater.film.versus import MEASURED_FROM, SAID, Pair, chosen, draw, name_of, results, vote


def kept(name, model="", engine="plain", prompt="a boat", photo=None, state="done", owner=1) -> KeptFilm:
    asked = {"prompt": prompt, "model": model, "engine": engine, "revision": "f" * 40 if model else "",
             "preset": "normal"}
    return KeptFilm(f"video_{name}", owner, None, state, asked, photo, "file" if state == "done" else None, None, None,
                    {"build": "b 1"}, None, None, None, None, float(len(name)), None)


@pytest.fixture
def room(world):
    """A Film room over real records, with the two verbs the comparison needs."""
    records = world.records
    files = {"p1": "same", "p2": "same", "p3": "other"}

    def add(*films):
        for film in films:
            records.films.add(film)

    def get(account_id, name):
        return KeptFile(name, account_id, "photo", "film", "image/png", files[name], 1, None, 0.0)

    return SimpleNamespace(films=records.films, votes=records.film_votes, jobs=None, now=world.clock, add=add,
                           files=SimpleNamespace(get=get), ann=world.ann)


def test_a_pair_has_the_same_words_and_photo_by_different_models(room):
    room.add(kept("1"), kept("2", "ann/wan", prompt=" A boat "), kept("3", "ann/wan", prompt="a horse"),
             kept("4", "ann/ltx", prompt="another", photo="p1"), kept("5", "ann/wan", prompt="another", photo="p2"),
             kept("6", "ann/cog", prompt="another", photo="p3"), kept("7", "ann/cog", state="failed"))
    pairs = [draw(room, room.ann, random.Random(seed)) for seed in range(40)]
    drawn = {(pair.a.id[-1], pair.b.id[-1]) for pair in pairs if pair}
    assert drawn == {("1", "2"), ("4", "5")}


def test_what_was_voted_on_is_not_drawn_again_nor_voted_on_again(room):
    room.add(kept("1"), kept("2", "ann/wan"))
    pair = draw(room, room.ann)
    assert vote(room, room.ann, pair, "left").said in ("a", "b")
    assert draw(room, room.ann) is None
    with pytest.raises(Conflict):
        vote(room, room.ann, pair, "bad")
    with pytest.raises(BadInput, match="left, right, tie, bad"):
        vote(room, room.ann, pair, "a")


def test_only_films_of_ones_own_that_are_made_can_be_chosen(room):
    room.add(kept("1"), kept("2", state="failed"), kept("3"))
    assert chosen(room, room.ann, "video_3", "video_1", 5).a.id == "video_1"
    stranger = SimpleNamespace(id=99)
    for account, one, other, error in ((room.ann, "video_1", "video_1", BadInput),
                                       (room.ann, "video_1", "video_2", BadInput),
                                       (room.ann, "video_1", "video_9", NotFound),
                                       (stranger, "video_1", "video_3", NotFound)):
        with pytest.raises(error):
            chosen(room, account, one, other)
    with pytest.raises(BadInput, match="seed"):
        chosen(room, room.ann, "video_1", "video_3", 2**60)


def test_sides_are_shuffled_by_the_seed_alone():
    films = kept("1"), kept("2")
    lefts = [Pair(*films, seed=seed).left.id for seed in range(400)]
    assert lefts == [Pair(*films, seed=seed).left.id for seed in range(400)]
    assert 150 < lefts.count("video_1") < 250
    assert all({Pair(*films, seed=s).left.id, Pair(*films, seed=s).right.id} == {"video_1", "video_2"}
               for s in range(20))


@given(st.integers(0, 2**53 - 1), st.sampled_from(SAID))
def test_a_vote_means_the_film_that_was_seen_on_that_side(seed, said):
    films, cast = (kept("1"), kept("2", "ann/wan")), []
    room = SimpleNamespace(votes=SimpleNamespace(add=cast.append), now=lambda: 1.0)
    pair = Pair(*films, seed=seed)
    vote(room, SimpleNamespace(id=1), pair, said)
    expected = {"left": pair.left.id, "right": pair.right.id}.get(said)
    assert {"a": "video_1", "b": "video_2"}.get(cast[0].said) == expected


def ballots(**counts):
    """Votes of a model x ("a") and a model y ("b")."""
    x, y = ({"model": name, "revision": "", "engine": "diffusers"} for name in ("x", "y"))
    return [FilmVote(1, f"video_{said}{n}", "video_z", 1, said, x, y, "p", 0.0)
            for said, count in counts.items() for n in range(count)]


def test_the_table_counts_and_its_interval_is_clopper_and_pearsons():
    models, pairs = results(ballots(a=9, b=3, tie=2, bad=1))
    x, y = sorted(models, key=lambda score: score.name)
    assert (x.won, x.lost, x.ties, x.bad) == (9, 3, 2, 1) and (y.won, y.lost, y.ties, y.bad) == (3, 9, 2, 1)
    assert [(score.name, score.other) for score in pairs] == [("x", "y")]
    # R: binom.test(9, 12)$conf.int
    assert pairs[0].share == 0.75 and pairs[0].interval == pytest.approx((0.4281415, 0.9451394), abs=1e-6)


def test_below_enough_votes_nothing_is_measured():
    score = results(ballots(a=MEASURED_FROM - 1, tie=50, bad=50))[1][0]
    assert score.share is None and score.interval is None and score.n == MEASURED_FROM - 1


def test_two_films_of_one_model_say_nothing_of_models():
    same = {"model": "x", "revision": "", "engine": "diffusers"}
    assert results([FilmVote(1, "a", "b", 1, "a", same, same, "p", 0.0)]) == ([], [])
    assert name_of({"model": "", "revision": "", "engine": "photo"}) == "headwater/photo"
    assert name_of({"model": "ann/wan", "revision": "0123456789", "engine": "e"}) == "ann/wan@01234567"
