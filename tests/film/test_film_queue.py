"""The line of films: places, turns, holds, changes while they wait; whatever two people do at once."""

import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_make import bytes_of, finished, photo
from test_make import ordered as ordered_large

from headwater.app import open_app
from headwater.core.errors import BadInput, Conflict, Forbidden, NotFound
from headwater.core.settings import load
from headwater.core.types import Job, JobState, KeptFilm
from headwater.film import queue as line
from headwater.film.learned import Learned, Rates
from headwater.film.make import finish
from headwater.film.order import Asked, cancel, find, job_of, order
from headwater.hub.accounts import create_user, owner_actor
from headwater.jobs.line import turn


@pytest.fixture
def app(tmp_path):
    app = open_app(load(tmp_path / "data", environ={}))
    app.start()
    yield app
    app.stop()


@pytest.fixture
def still(app):
    """The same hub with its line paused: what is ordered waits."""
    line.pause_all(app.film, owner_actor(app.hub))
    return app


def ordered(app, **fields):
    """A film of few pixels: it is the line that is looked at."""
    return ordered_large(app, **{"size": (160, 120), **fields})


def me(app):
    return owner_actor(app.hub)


def other(app, name):
    account = create_user(app.hub, me(app), name, password="correct horse battery")
    return replace(me(app), account=account)


def names(app, films):
    """The films of the line by their place in `films`."""
    ids = [one.id for one in films]
    return [ids.index(job.payload["film_id"]) for job in app.film.jobs.waiting("film")]


def by(app, actor):
    asked = Asked(prompt="zoom", model="plain", seconds=0.5, fps=12, seed=7, size=(160, 120))
    return order(app.film, actor, actor.account, asked, photo(app))


def test_films_are_moved_before_and_after_others_and_are_made_in_that_order(still):
    films = [ordered(still, prompt=f"film {number}") for number in range(3)]
    line.move(still.film, me(still), films[2], to="top")
    line.move(still.film, me(still), films[0], after=films[1].id)
    assert names(still, films) == [2, 1, 0]
    line.move(still.film, me(still), films[0], before=films[1].id)
    line.move(still.film, me(still), films[0], to="end")
    assert [line.standings(still.film)[films[number].id].place for number in (2, 1, 0)] == [1, 2, 3]
    line.go_on_all(still.film, me(still))
    ended = [finished(still, one) for one in films]
    assert sorted(range(3), key=lambda number: ended[number].finished_at) == [2, 1, 0]


def test_a_place_that_cannot_be_is_refused(still):
    first, second = ordered(still), ordered(still)
    for wrong in ({}, {"to": "top", "before": first.id}, {"to": "moon"}):
        with pytest.raises(BadInput):
            line.move(still.film, me(still), second, **wrong)
    with pytest.raises(NotFound):
        line.move(still.film, me(still), second, before="video_none")
    cancel(still.film, first)
    with pytest.raises(Conflict, match="waits no more"):
        line.move(still.film, me(still), first, to="top")


def test_accounts_take_turns_and_one_orders_only_ones_own_places(still):
    ann, bob = other(still, "ann"), other(still, "bob")
    films = [by(still, ann), by(still, ann), by(still, ann), by(still, bob), by(still, bob)]
    assert names(still, films) == [0, 3, 1, 4, 2]
    plain_bob = replace(bob, account=replace(bob.account, is_admin=False))
    line.move(still.film, plain_bob, films[4], to="top")
    assert names(still, films) == [0, 4, 1, 3, 2]
    with pytest.raises(NotFound):
        line.move(still.film, plain_bob, films[4], before=films[0].id)
    with pytest.raises(NotFound):
        find(still.film, bob.account, films[0].id)
    with pytest.raises(Forbidden):
        line.pause_all(still.film, plain_bob)
    line.move(still.film, me(still), films[4], to="end")  # an administrator, whose film it is not
    assert names(still, films) == [0, 1, 3, 2, 4]


@given(st.lists(st.sampled_from("abc"), max_size=30), st.sampled_from("abc"))
def test_joining_by_turns_steps_before_nobodys_next_and_keeps_ones_own_order(joined, running):
    waiting: list[Job] = []
    for number, actor in enumerate(joined):
        at = turn(waiting, Counter(running), actor)
        assert at > max((n for n, job in enumerate(waiting) if job.actor == actor), default=-1)
        waiting.insert(at, Job(str(number), "film", "", {}, JobState.QUEUED, "", 0, None, "", None, None, actor, None,
                               0, 0.0, None, None))
    rounds, seen = [], Counter(running)
    for job in waiting:
        rounds.append(seen[job.actor])
        seen[job.actor] += 1
    assert rounds == sorted(rounds)


def test_a_held_film_keeps_its_place_lets_others_by_and_is_held_after_a_restart(still, tmp_path):
    films = [ordered(still), ordered(still)]
    line.hold(still.film, films[0])
    line.go_on_all(still.film, me(still))
    assert finished(still, films[1]).state == "done"
    assert line.standings(still.film)[films[0].id].held
    still.stop()
    second = open_app(load(tmp_path / "data", environ={}))
    second.start()
    try:
        time.sleep(0.7)
        assert line.standings(second.film)[films[0].id] == line.Standing(1, 1, True, None)
        line.let_go(second.film, find(second.film, me(second).account, films[0].id))
        assert finished(second, films[0]).state == "done"
    finally:
        second.stop()


def test_a_film_under_way_that_is_held_begins_anew_and_becomes_the_same(app):
    fields = {"seconds": 4.0, "size": (640, 480)}
    kept = ordered(app, **fields)
    finished(app, kept, ("running",))
    line.hold(app.film, find(app.film, me(app).account, kept.id))
    waits = finished(app, kept, ("queued",))
    while job_of(app.film, waits).state is not JobState.QUEUED:
        time.sleep(0.02)
    changed = line.change(app.film, me(app), me(app).account, waits, {"seconds": 1.0})
    line.let_go(app.film, changed)
    made, plain = finished(app, kept), finished(app, ordered(app, **{**fields, "seconds": 1.0}))
    assert made.state == "done" and made.receipt["frames"] == 12
    assert bytes_of(app, made.poster) == bytes_of(app, plain.poster)


def test_the_whole_line_stands_still_over_a_restart_and_goes_on(still, tmp_path):
    kept = ordered(still)
    still.stop()
    second = open_app(load(tmp_path / "data", environ={}))
    second.start()
    try:
        time.sleep(0.7)
        assert line.is_paused(second.film) and find(second.film, me(second).account, kept.id).state == "queued"
        line.go_on_all(second.film, me(second))
        assert finished(second, kept).state == "done"
    finally:
        second.stop()


def test_an_order_that_waits_is_changed_and_normalised_anew(still):
    kept = ordered(still, prompt="zoom in", seconds=1.0)
    changed = line.change(still.film, me(still), me(still).account, kept,
                          {"prompt": "she dances", "seconds": 0.5, "size": (161, 120), "seed": 9})
    asked = changed.asked
    assert (asked["prompt"], asked["seconds"], asked["width"], asked["seed"]) == ("she dances", 0.5, 160, 9)
    for told in ("161x120", "no camera move"):
        assert any(told in note for note in asked["notes"])
    assert "she dances" in job_of(still.film, changed).title and changed.edition == 1
    line.go_on_all(still.film, me(still))
    assert finished(still, kept).receipt["frames"] == 6


@pytest.mark.parametrize("wrong", [{"seconds": 1e9}, {"preset": "fast"}, {"size": (1, 1)}, {"model": "plain"},
                                   {"camera": {"zoom": 1.0, "pan": 1.0}}])
def test_a_change_the_engine_cannot_do_leaves_the_order_as_it_was(still, wrong):
    kept = ordered(still)
    with pytest.raises(BadInput):
        line.change(still.film, me(still), me(still).account, kept, wrong)
    assert find(still.film, me(still).account, kept.id) == kept
    assert not list(still.film.tmp.iterdir())


def test_of_two_who_change_one_order_at_once_the_second_is_told(still):
    kept = ordered(still)
    said, gate = [], threading.Barrier(2)

    def change(words):
        gate.wait()
        try:
            said.append(line.change(still.film, me(still), me(still).account, kept, {"prompt": words}).asked["prompt"])
        except Conflict as error:
            said.append(error)

    both = [threading.Thread(target=change, args=(words,)) for words in ("zoom in", "zoom out")]
    [one.start() for one in both]
    [one.join() for one in both]
    told = [one for one in said if isinstance(one, Conflict)]
    assert len(told) == 1 and "meanwhile" in str(told[0])
    assert find(still.film, me(still).account, kept.id).asked["prompt"] in said
    with pytest.raises(Conflict):
        line.change(still.film, me(still), me(still).account, find(still.film, me(still).account, kept.id),
                    {"seed": 1}, edition=0)


def test_what_is_under_way_or_done_is_not_changed(app):
    kept = ordered(app, seconds=30.0, size=(960, 720))
    now = finished(app, kept, ("running",))
    with pytest.raises(Conflict, match="pause"):
        line.change(app.film, me(app), me(app).account, now, {"prompt": "zoom"})
    with pytest.raises(Conflict):  # seen while it waited, changed when it ran
        line.change(app.film, me(app), me(app).account, replace(now, state="queued"), {"prompt": "zoom"})
    cancel(app.film, now)
    finished(app, kept)
    for verb in (line.hold, line.let_go):
        with pytest.raises(Conflict):
            verb(app.film, find(app.film, me(app).account, kept.id))


def test_a_film_finished_early_keeps_what_there_is_and_says_so(app):
    kept = ordered(app, seconds=30.0, size=(960, 720))
    with pytest.raises(Conflict, match="at work"):
        finish(app.film, kept)
    finish(app.film, finished(app, kept, ("running",)))
    made = finished(app, kept)
    assert made.state == "done" and made.receipt["frames"] < 360
    assert made.receipt["draft"] == f"{made.receipt['frames']} of 360 frames"


def test_when_a_film_will_be_made_is_told_from_films_of_its_kind(app):
    app.film.jobs.stop()
    films = [ordered(app, seconds=seconds) for seconds in (0.5, 1.0)]
    assert all(one.left_s > 0 for one in line.standings(app.film).values())  # as their engine thinks
    for rate in (1e-6, 2e-6, 4e-6):
        add_made(app, {"engine": "plain", "model": "", "steps": None}, 1e6 * rate, 1e6)
    each = 2e-6 * 160 * 120
    told = line.standings(app.film)
    assert [told[one.id].left_s for one in films] == [pytest.approx(each * 6), pytest.approx(each * 18)]
    line.hold(app.film, films[0])
    told = line.standings(app.film)
    assert [told[one.id].left_s for one in films] == [None, pytest.approx(each * 12)]


def add_made(app, asked, seconds, work, **receipt):
    """The record of a film that was made."""
    app.film.films.add(KeptFilm(
        f"video_{len(app.film.films.page(None)[0]):032x}", me(app).account.id, None, "done", asked, None, None, None,
        None, {"engine": asked["engine"], "seconds": seconds, "work": work, **receipt}, None, None, None, None,
        app.film.now(), None))


def test_an_actor_is_whoever_the_film_belongs_to_also_after_the_work_was_lost(still, tmp_path):
    kept = ordered(still)
    still.film.films.update(kept.id, job_id=None)
    still.stop()
    second = open_app(load(tmp_path / "data", environ={}))
    cancel(second.film, kept)
    second.start()
    try:
        waits = find(second.film, me(second).account, kept.id)
        assert waits.job_id != kept.job_id and job_of(second.film, waits).actor == me(second).account.name
    finally:
        second.stop()


def test_films_of_any_number_of_steps_teach_where_an_engine_measures_its_work(app):
    for steps, seconds in ((4, 8.0), (20, 44.0), (40, 80.0)):
        add_made(app, {"engine": "diffusers", "model": "me/wan", "steps": steps}, seconds, steps * 2.0)
        add_made(app, {"engine": "plain", "model": "me/wan", "steps": steps}, seconds, 100.0)
    add_made(app, {"engine": "diffusers", "model": "me/wan", "steps": 40}, 1.0, 80.0, draft="1 of 40 steps")
    learned = Learned(app.film)
    assert learned.rates("diffusers", "me/wan", 10) == Rates(1.0, 1.0, 1.1)
    assert learned.rates("diffusers", "me/other", 10) is None
    assert learned.rates("plain", "me/wan", 4) is None  # pixels alone do not know of steps


def test_a_film_whose_process_died_waits_again_and_can_be_held_and_changed(still):
    kept = ordered(still)
    still.film.films.update(kept.id, state="running")  # as the hub that died left it
    seen = find(still.film, me(still).account, kept.id)
    assert seen.state == "queued"
    with pytest.raises(Conflict, match="Pause it"):
        line.change(still.film, me(still), me(still).account, seen, {"prompt": "zoom"})
    held = line.hold(still.film, seen)
    assert line.change(still.film, me(still), me(still).account, held, {"prompt": "zoom"}).asked["prompt"] == "zoom"
