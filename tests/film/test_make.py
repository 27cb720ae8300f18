"""A film is ordered, made, signed and kept; whatever happens in between, none is lost and none is half."""

import io
import json
import time
from dataclasses import replace

import c2pa
import numpy as np
import pytest
from PIL import Image

from headwater.app import open_app
from headwater.core.errors import BadInput, Busy, Conflict, NotFound, TooLarge
from headwater.core.settings import load
from headwater.film.credit import RECIPE
from headwater.film.encode import look
from headwater.film.learned import estimate
from headwater.film.mark import find as find_marks
from headwater.film.order import Asked, again, cancel, delete, find, job_of, order, plan
from headwater.hub.accounts import owner_actor


@pytest.fixture
def app(tmp_path):
    app = open_app(load(tmp_path / "data", environ={}))
    app.start()
    yield app
    app.stop()


def photo(app, size=(320, 240), seed=0):
    ramp = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(ramp).resize(size, Image.Resampling.BICUBIC).save(out, "JPEG")
    return app.film.stage([out.getvalue()], limit=10_000_000)


def ordered(app, picture=0, **fields):
    actor = owner_actor(app.hub)
    asked = Asked(**{"prompt": "move left", "model": "plain", "seconds": 0.5, "fps": 12, "seed": 7, **fields})
    return order(app.film, actor, actor.account, asked, photo(app, seed=picture))


def finished(app, kept, states=("done", "failed", "cancelled")):
    account = owner_actor(app.hub).account
    until = time.monotonic() + 60
    while time.monotonic() < until:
        now = find(app.film, account, kept.id)
        if now.state in states:
            return now
        time.sleep(0.05)
    raise AssertionError(f"still {now.state}: {job_of(app.film, now)}")


def bytes_of(app, file_id):
    file = app.film.files.get(owner_actor(app.hub).account.id, file_id)
    return b"".join(app.film.blobs.read(file.digest))


def test_a_photo_becomes_a_signed_film_with_poster_and_sheet(app, tmp_path):
    made = finished(app, ordered(app))
    assert made.state == "done", made.error
    (tmp_path / "film.mp4").write_bytes(bytes_of(app, made.video))
    assert look(tmp_path / "film.mp4").frames == 6
    store = json.loads(c2pa.Reader("video/mp4", io.BytesIO(bytes_of(app, made.video))).json())
    active = store["manifests"][store["active_manifest"]]
    recipe = next(one["data"] for one in active["assertions"] if one["label"] == RECIPE)
    assert (recipe["film"], recipe["prompt"], recipe["seed"]) == (made.id, "move left", 7)
    assert active["ingredients"][0]["title"] == "photo"
    assert Image.open(io.BytesIO(bytes_of(app, made.poster))).format == "WEBP"
    assert find_marks(tmp_path / "film.mp4", dict(app.film.films.marks()))[0][:1] == (made.id,)
    assert made.receipt["generates"] is False and made.receipt["seconds"] > 0
    assert not list(app.film.tmp.glob("film-*"))


def test_the_same_order_gives_the_same_pictures_and_another_photo_others(app, tmp_path):
    first, second, other = (finished(app, ordered(app, picture=seed)) for seed in (0, 0, 1))
    posters = [bytes_of(app, one.poster) for one in (first, second, other)]
    assert posters[0] == posters[1] != posters[2]


def test_again_draws_a_new_seed_and_keeps_the_rest(app):
    first = finished(app, ordered(app))
    actor = owner_actor(app.hub)
    second = again(app.film, actor, actor.account, first)
    assert second.remixed_from == first.id and second.asked["seed"] != first.asked["seed"]
    assert {**second.asked, "seed": 0} == {**first.asked, "seed": 0}
    assert finished(app, second).state == "done"


def test_what_waits_can_be_cancelled_and_what_runs_ends_at_its_next_step(app):
    running, waiting = ordered(app, seconds=30.0, size=(960, 720)), ordered(app)
    finished(app, running, ("running",))
    assert cancel(app.film, waiting).state == "cancelled"
    cancel(app.film, running)
    assert finished(app, running).state == "cancelled"
    with pytest.raises(Conflict):
        cancel(app.film, find(app.film, owner_actor(app.hub).account, running.id))
    assert not list(app.film.tmp.glob("film-*"))


def test_a_film_under_way_when_the_hub_stops_is_made_after_the_next_start(app, tmp_path):
    kept = ordered(app, seconds=20.0)
    finished(app, kept, ("running",))
    app.stop()
    second = open_app(load(tmp_path / "data", environ={}))
    second.start()
    try:
        made = finished(second, kept)
        assert made.state == "done" and made.receipt["frames"] == 240
    finally:
        second.stop()


def test_an_order_whose_hub_died_before_the_work_was_enqueued_is_made_at_the_next_start(app, tmp_path):
    kept = finished(app, ordered(app))
    app.film.films.update(kept.id, state="queued", job_id=None, video=None)
    app.stop()
    second = open_app(load(tmp_path / "data", environ={}))
    second.start()
    try:
        assert finished(second, kept).state == "done"
    finally:
        second.stop()


def test_a_deleted_film_takes_its_files_along(app):
    made = finished(app, ordered(app))
    account = owner_actor(app.hub).account
    delete(app.film, account, made)
    assert app.film.files.page(account)[0] == []
    with pytest.raises(NotFound):
        find(app.film, account, made.id)


def test_anothers_film_is_not_there(app):
    made = ordered(app)
    stranger = app.hub.accounts.create("eve", is_org=False, fullname="", email=None, is_admin=False,
                                       password_hash=None, by=owner_actor(app.hub))
    with pytest.raises(NotFound):
        find(app.film, stranger, made.id)


@pytest.mark.parametrize(("fields", "error", "says"), [
    ({"seconds": 0.0001}, BadInput, "seconds"), ({"seconds": 1e9}, BadInput, "seconds"),
    ({"fps": 0.5}, BadInput, "fps"), ({"preset": "fast"}, BadInput, "preset"), ({"seed": -1}, BadInput, "seed"),
    ({"size": (20, 4000)}, BadInput, "size"), ({"camera": {"pan": 11}}, BadInput, "camera"),
    ({"camera": {"pan": 1, "zoom": 1}}, BadInput, "at most one"), ({"camera": {"spin": 1}}, BadInput, "camera"),
    ({"prompt": "a" * 4001}, BadInput, "4,000"), ({"model": "nobody/nothing"}, NotFound, "not here"),
    ({"seconds": 40.0}, BadInput, "At most 30 s"),
])
def test_what_cannot_be_made_is_refused_before_it_is_kept(app, fields, error, says):
    with pytest.raises(error, match=says):
        ordered(app, **fields)
    assert app.film.films.page(None)[0] == [] and app.film.files.page(owner_actor(app.hub).account)[0] == []


def test_words_alone_are_refused_where_no_model_can_follow_them(app):
    actor = owner_actor(app.hub)
    with pytest.raises(BadInput, match="photo"):
        order(app.film, actor, actor.account, Asked(prompt="a river", model="plain"))


def test_a_file_that_is_no_picture_is_refused(app):
    actor = owner_actor(app.hub)
    staged = app.film.stage([b"GIF89a but no more"], limit=1000)
    with pytest.raises(BadInput, match="cannot be read"):
        order(app.film, actor, actor.account, Asked(model="plain"), staged)


def test_an_account_may_have_only_so_many_films_waiting(app):
    app.settings._values["film_queue_user_max"] = 2
    ordered(app, seconds=30.0), ordered(app)
    with pytest.raises(Busy):
        ordered(app)


def test_what_needs_more_memory_than_it_may_is_refused_before_it_starts(app):
    app.settings._values["film_memory_bytes"] = 1 << 20
    with pytest.raises(TooLarge, match="MiB"):
        ordered(app)


def test_the_time_a_film_takes_is_learned_from_the_newest_ones(app):
    actor = owner_actor(app.hub)
    made = finished(app, ordered(app))
    for n in range(60):  # a machine that was fast once and is slow now
        receipt = {"engine": "plain", "seconds": 1.0 if n < 10 else 100.0, "work": 1_000}
        app.film.films.add(replace(made, id=f"video_{n:032x}", receipt=receipt, created_at=made.created_at + 1 + n))
    planned = plan(app.film, actor, Asked(prompt="move left", model="plain", seconds=0.5, fps=12), photo(app))
    work = planned.request.frames * planned.request.width * planned.request.height
    assert estimate(app.film, planned).seconds == pytest.approx(work * 100 / 1_000)
    assert estimate(app.film, planned).low == pytest.approx(work * 100 / 1_000)
