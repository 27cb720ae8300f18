"""`headwater film`: a photo in, a film out, and back from any copy to what made it."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
from conftest import Terminal
from PIL import Image

from headwater.app import open_app
from headwater.core.settings import load
from headwater.film.order import Asked
from headwater.film.order import order as film_order
from headwater.hub.accounts import owner_actor


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "river.jpg"
    spots = np.random.default_rng(5).integers(0, 255, (9, 12, 3), np.uint8)
    Image.fromarray(spots).resize((320, 240), Image.Resampling.BICUBIC).save(path)
    return path


def test_a_photo_becomes_a_film_that_tells_what_made_it(hw, photo, tmp_path):
    target = tmp_path / "out.mp4"
    made = hw("film", str(photo), "zoom in", "-o", str(target), "--seconds", "1", "--fps", "6", "--seed", "7",
              "--model", "plain", "--size", "320x240", "--json")
    receipt = json.loads(made.out)
    assert (receipt["status"], receipt["headwater"]["seed"], receipt["file"]) == ("completed", 7, str(target))
    with av.open(str(target)) as box:
        assert sum(1 for _ in box.decode(video=0)) == 6
    said = json.loads(hw("film", "verify", str(target), "--json").out)
    assert (said["credential"], said["recipe"]["prompt"], said["recipe"]["seed"]) == ("trusted", "zoom in", 7)
    listed = json.loads(hw("film", "list", "--json").out)
    assert [one["id"] for one in listed] == [receipt["id"]]

    copy = _halved(target, tmp_path / "copy.mkv")
    said = json.loads(hw("film", "verify", str(copy), "--json").out)
    assert (said["credential"], said["film"], said["made"]["seed"]) == ("none", receipt["id"], 7)
    assert 0 <= said["distance"] < 0.22 and not said["mirrored"]


def test_what_cannot_be_made_is_told_and_leaves_no_file(hw, photo, tmp_path):
    told = hw("film", "--model", "plain", str(photo), "zoom", "-o", str(tmp_path / "a.mp4"), "--seconds", "99")
    assert told.code == 1 and "At most 30 s" in told.err
    told = hw("film", str(tmp_path / "none.jpg"), "zoom")
    assert told.code == 1 and "no file" in told.err
    told = hw("film", "verify", str(photo.with_name("none.mp4")))
    assert told.code == 1 and "no file" in told.err
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*.part"))


def consent(data, film):
    app = open_app(load(data, environ={}))
    try:
        return app.hub.accounts.audit(subject=f"film/{film}")[0].detail
    finally:
        app.stop()


def test_who_is_in_the_photo_is_said_by_a_flag_and_a_script_without_it_is_told(hw, data, photo, tmp_path):
    argv = ("film", str(photo), "zoom in", "-o", str(tmp_path / "a.mp4"), "--seconds", "0.5", "--fps", "6", "--model",
            "plain", "--size", "160x120")
    said = json.loads(hw(*argv, "--people", "agreed", "--json").out)
    assert said["headwater"]["people"] == "agreed"
    told = consent(data, said["id"])
    assert told["said"] == "people can be recognised and agreed" and told["program"].startswith("headwater/")
    silent = hw(*argv)
    assert silent.code == 0 and "--people none or --people agreed" in silent.err
    assert consent(data, json.loads(hw("film", "list", "--json").out)[0]["id"])["said"] == "consent not asked"


def test_a_person_at_a_terminal_is_asked_who_is_in_the_photo(data, photo, tmp_path):
    argv = ("film", str(photo), "zoom in", "-o", str(tmp_path / "a.mp4"), "--seconds", "0.5", "--fps", "6", "--model",
            "plain", "--size", "160x120")
    terminal = Terminal(data, *argv)
    try:
        terminal.wait_for("1 or 2: ")
        terminal.type("maybe\n")
        terminal.wait_for("no film was ordered")
        assert terminal.process.wait(20) == 1
    finally:
        terminal.close()
    terminal = Terminal(data, *argv)
    try:
        terminal.wait_for("1 or 2: ")
        terminal.type("2\n")
        terminal.wait_for("headwater film verify")
        assert terminal.process.wait(20) == 0
    finally:
        terminal.close()


def test_a_film_is_extended_by_its_id_and_from_a_file(hw, photo, tmp_path):
    first = tmp_path / "first.mp4"
    made = json.loads(hw("film", str(photo), "zoom in", "-o", str(first), "--seconds", "0.5", "--fps", "6", "--model",
                         "plain", "--size", "320x240", "--badge", "zh", "--json").out)
    for source in (made["id"], str(first)):
        longer = tmp_path / "longer.mp4"
        said = json.loads(hw("film", "extend", source, "zoom out", "-o", str(longer), "--seconds", "0.5", "--json").out)
        assert said["headwater"]["extends"] == made["id"] and said["seconds"] == f"{5 / 6:g}"
        with av.open(str(longer)) as box:
            assert sum(1 for _ in box.decode(video=0)) == 5
        longer.unlink()


def test_films_that_wait_are_shown_moved_changed_held_and_doubled(hw, data, photo):
    assert "paused" in hw("film", "pause").err
    ids = [order(data, photo, f"zoom {number}") for number in range(2)]
    moved = json.loads(hw("film", "move", ids[1], "--to", "top", "--json").out)
    assert moved["waits"] == {"place": 1, "of": 2, "held": False, "left_s": None}
    changed = hw("film", "change", ids[1], "--prompt", "tilt up", "--size", "161x120", "--seed", "3")
    assert "both sides must be even" in changed.err and "is changed" in changed.err
    assert "waits until" in hw("film", "pause", ids[0]).err
    doubled = json.loads(hw("film", "duplicate", ids[1], "--json").out)
    assert doubled["prompt"] == "tilt up" and doubled["seed"] != 3
    line = hw("film", "queue")
    assert "1 of 3" in line.out and "held" in line.out and "The line is paused" in line.err
    said = json.loads(hw("film", "queue", "--json").out)
    assert [one["id"] for one in said["films"]] == [ids[1], ids[0], doubled["id"]] and said["paused"]
    assert hw("film", "finish", ids[1]).code == 1 and hw("film", "move", ids[1]).code == 1
    assert hw("film", "change", ids[1]).code == 1
    for film in (*ids, doubled["id"]):
        assert "given up" in hw("film", "cancel", film).err
    assert "goes on" in hw("film", "resume").err


def order(data, photo, words):
    """As a program orders, without waiting for the film."""
    app = open_app(load(data, environ={}))
    try:
        actor = owner_actor(app.hub)
        picture = app.film.stage([photo.read_bytes()], limit=10_000_000)
        asked = Asked(prompt=words, model="plain", seconds=0.5)
        return film_order(app.film, actor, actor.account, asked, picture).id
    finally:
        app.stop()


def _halved(source, target):
    with av.open(str(source)) as box, av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=6, options={"crf": "34"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 160, 120, "yuv420p", Fraction(1, 6)
        for n, frame in enumerate(box.decode(video=0)):
            small = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24")[::2, ::2].copy(), format="rgb24")
            small.pts = n
            out.mux(stream.encode(small))
        out.mux(stream.encode(None))
    return target
