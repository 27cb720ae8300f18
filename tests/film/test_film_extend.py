"""A film goes on where another ended: the same frames first, then new ones from the last of them, and both are told."""

import io
import json
from dataclasses import replace

import av
import c2pa
import numpy as np
import pytest
from film_made import drift
from test_make import app, bytes_of, finished, ordered  # noqa: F401

from headwater.core.errors import BadInput, Conflict, CorruptFile, NotFound
from headwater.film import footage
from headwater.film.credit import RECIPE
from headwater.film.encode import encode
from headwater.film.extend import extend, extend_footage, join
from headwater.film.footage import Footage, ending, frames_of
from headwater.film.order import Asked, again, delete, find
from headwater.hub.accounts import owner_actor


def frames(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as box:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)])


def staged(app, path):  # noqa: F811
    return app.film.stage([path.read_bytes()], limit=100_000_000)


def recipe_of(data: bytes) -> tuple[dict, dict]:
    store = json.loads(c2pa.Reader("video/mp4", io.BytesIO(data)).json())
    active = store["manifests"][store["active_manifest"]]
    return next(one["data"] for one in active["assertions"] if one["label"] == RECIPE), active


def test_a_film_goes_on_from_its_last_frame_and_names_what_it_extends(app):  # noqa: F811
    actor = owner_actor(app.hub)
    first = finished(app, ordered(app, size=(320, 240)))
    longer = finished(app, extend(app.film, actor, actor.account, first, prompt="zoom in", seconds=1.0, seed=3))
    assert longer.state == "done", longer.error
    old, new = frames(bytes_of(app, first.video)), frames(bytes_of(app, longer.video))
    assert (len(old), len(new), longer.receipt["frames"]) == (6, 17, 17)
    assert np.abs(old.astype(int) - new[:6]).mean() < 3  # encoded twice
    joint, step = (np.abs(new[a].astype(int) - new[b]).mean() for a, b in ((5, 6), (9, 10)))
    assert joint < 12 * max(step, 1), "what is new begins where the old ended"
    recipe, manifest = recipe_of(bytes_of(app, longer.video))
    assert recipe["extends"]["film"] == first.id and recipe["prompt"] == "zoom in" and recipe["frames"] == 17
    assert "nothing was generated" in recipe["notice"]
    assert "the film it extends" in [one["title"] for one in manifest["ingredients"]]
    assert "draft" not in longer.receipt
    repeated = finished(app, again(app.film, actor, actor.account, longer, seed=3))
    assert np.array_equal(frames(bytes_of(app, repeated.video)), new)
    app.film.jobs.stop()
    third = extend(app.film, actor, actor.account, longer, seconds=0.5)
    assert (third.asked["prompt"], third.asked["extends"]["frames"]) == ("zoom in", 17)


def test_a_video_that_was_sent_is_gone_on_from_and_deleted_with_its_film(app, tmp_path):  # noqa: F811
    actor = owner_actor(app.hub)
    encode(drift(10), tmp_path / "a.mp4", fps=12)
    source = staged(app, tmp_path / "a.mp4")
    kept = extend_footage(app.film, actor, actor.account, source, Asked(prompt="zoom", model="plain", seconds=0.5))
    made = finished(app, kept)
    assert (made.receipt["frames"], made.receipt["size"], made.asked["fps"]) == (15, "128x96", 12), made.error
    recipe, _ = recipe_of(bytes_of(app, made.video))
    assert recipe["extends"]["film"] is None and len(recipe["extends"]["sha256"]) == 64
    assert recipe["notice"] == "The last frame of a film was set in motion; what made that film is not known."
    own = made.asked["extends"]["file"]
    app.film.jobs.stop()
    copy = again(app.film, actor, actor.account, made)
    assert copy.asked["extends"]["file"] != own
    delete(app.film, actor.account, made)
    assert app.film.files.get(actor.account.id, own) is None
    assert app.film.files.get(actor.account.id, copy.asked["extends"]["file"])
    assert not [path for path in app.film.tmp.iterdir() if path.is_file()]


def test_what_is_not_made_or_gone_or_would_be_too_long_is_not_extended(app):  # noqa: F811
    actor = owner_actor(app.hub)
    first = finished(app, ordered(app, size=(160, 120)))
    with pytest.raises(Conflict, match="only one that is made"):
        extend(app.film, actor, actor.account, replace(first, state="running"))
    with pytest.raises(BadInput, match="the most is 120"):
        extend(app.film, actor, actor.account, first, seconds=119.8)
    app.film.jobs.stop()
    waits = extend(app.film, actor, actor.account, first)
    app.film.files.delete(actor.account, first.video)
    with pytest.raises(NotFound):
        extend(app.film, actor, actor.account, first)
    app.film.jobs.start()
    ended = finished(app, waits)
    assert ended.state == "failed" and "was deleted" in ended.error
    assert find(app.film, actor.account, waits.id).state == "failed"


@pytest.mark.parametrize(("pace", "wanted"), [(12, [1, 2, 3]), (6, [0, 1, 1, 2, 2, 3, 3]), (24, [2])])
def test_another_pace_and_size_are_brought_to_those_of_the_earlier_film(tmp_path, pace, wanted):
    encode(drift(3), tmp_path / "a.mp4", fps=12)
    made = (np.full((48, 64, 3), number * 40, np.uint8) for number in range(4))
    joined = list(join(tmp_path / "a.mp4", made, pace, Footage(128, 96, 3, 12, 12.0)))
    assert {frame.shape for frame in joined} == {(96, 128, 3)}
    assert [int(frame[0, 0, 0]) // 40 for frame in joined[3:]] == wanted


def test_the_last_frame_is_the_last_and_odd_sides_are_made_even(tmp_path):
    with av.open(str(tmp_path / "odd.avi"), "w") as box:
        stream = box.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 129, 97, "bgr0"
        for frame in drift(4, (97, 129)):
            box.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        box.mux(stream.encode(None))
    seen = ending(tmp_path / "odd.avi")
    assert (seen.width, seen.height, seen.frames, seen.fps) == (128, 96, 4, 25)
    from PIL import Image

    last = np.asarray(Image.open(io.BytesIO(seen.last)).convert("RGB"))
    assert np.array_equal(last, list(drift(4, (97, 129)))[-1][:96, :128])
    assert np.array_equal(list(frames_of(tmp_path / "odd.avi"))[-1], last)


@pytest.mark.parametrize("data", [b"", b"no video", b"\0\0\0\x18ftypmp42" + b"\0" * 5_000, b"RIFF\xff\xff\xff\xffAVI "])
def test_what_is_no_video_is_refused(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(CorruptFile):
        ending(tmp_path / "a")


def test_a_video_of_too_many_frames_or_too_large_ones_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(footage, "FRAMES_MAX", 20)
    encode(drift(21), tmp_path / "long.mp4", fps=24)
    with pytest.raises(CorruptFile, match="longer than 20 frames"):
        ending(tmp_path / "long.mp4")
    with av.open(str(tmp_path / "wide.avi"), "w") as box:
        stream = box.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 4_112, 64, "yuvj420p"
        box.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 4_112, 3), np.uint8), format="rgb24")))
        box.mux(stream.encode(None))
    with pytest.raises(CorruptFile, match="4112x64"):
        ending(tmp_path / "wide.avi")
