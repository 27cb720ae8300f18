"""An engine works in a process of its own; whatever happens to it, the hub hears why and goes on."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from headwater.core.errors import BadInput, EngineFailed, TooLarge
from headwater.core.film import FilmRequest, Picture, Step
from headwater.film.process import frames
from headwater.film_engines import FILM_ENGINES

MEMORY = 3 << 30


@pytest.fixture
def request_of(tmp_path):
    ramp = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    Image.fromarray(ramp).resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    plain = FilmRequest("plain", "i2v", "move left", 1.0, 12, 160, 120, 7,
                        pictures=(Picture("first", tmp_path / "photo.png", "0" * 64),))
    return FILM_ENGINES["plain"].normalise(plain).request


def all_of(request: FilmRequest, told: list[Step] | None = None) -> list[np.ndarray]:
    return list(frames(request, (told if told is not None else []).append, lambda: False, memory_bytes=MEMORY))


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "film_engines" in " ".join(p.cmdline())]


def test_a_request_reads_back_as_it_was_written(request_of):
    assert FilmRequest.from_json(request_of.to_json()) == request_of


def test_the_same_request_gives_the_same_frames(request_of):
    told: list[Step] = []
    first, second = all_of(request_of, told), all_of(request_of)
    assert len(first) == request_of.frames == 12
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    # in silence the last step is told again
    assert [i for i in dict.fromkeys(step.i for step in told if step.preview is None) if i] == list(range(1, 13))
    assert next(step for step in told if step.preview).preview[:2] == b"\xff\xd8"
    assert children() == []


def test_a_film_stopped_early_keeps_what_it_has(request_of):
    many = replace(request_of, seconds=30.0)
    kept: list[np.ndarray] = []
    for frame in frames(many, lambda step: None, lambda: len(kept) >= 3, memory_bytes=MEMORY):
        kept.append(frame)
    assert 3 <= len(kept) < 360
    assert children() == []


def test_a_film_given_up_leaves_no_process(request_of):
    class Cancel(Exception):
        pass

    def tell(step: Step) -> None:
        if step.i == 3:
            raise Cancel

    with pytest.raises(Cancel):
        list(frames(request_of, tell, lambda: False, memory_bytes=MEMORY))
    assert children() == []


def test_a_killed_engine_is_told(request_of):
    def tell(step: Step) -> None:
        if step.i == 2:
            os.kill(children()[0].pid, signal.SIGKILL)

    with pytest.raises(EngineFailed, match="stopped before the film was whole"):
        list(frames(replace(request_of, seconds=30.0), tell, lambda: False, memory_bytes=MEMORY))


def test_a_photo_that_cannot_be_read_is_the_askers_error(request_of, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    with pytest.raises(BadInput, match="cannot be read"):
        all_of(request_of)


def test_a_photo_of_a_hundred_megapixels_is_refused_before_it_is_read(request_of, tmp_path):
    Image.new("1", (10_001, 10_000)).save(tmp_path / "photo.png")
    with pytest.raises(BadInput, match="100 megapixels"):
        all_of(request_of)


def test_an_engine_out_of_memory_says_so(request_of, tmp_path):
    Image.new("RGB", (6_000, 8_000)).save(tmp_path / "photo.png")
    with pytest.raises((TooLarge, BadInput), match=r"MiB|[Mm]emory|allocate"):
        list(frames(request_of, lambda step: None, lambda: False, memory_bytes=300 << 20))


@pytest.mark.parametrize("axis", ["horizontal", "vertical", "pan", "tilt", "roll", "zoom"])
def test_the_camera_moves_along_every_axis_and_never_leaves_the_picture(axis, tmp_path):
    Image.new("RGB", (400, 300), "white").save(tmp_path / "white.png")
    for strength in (-10.0, 10.0):
        request = FilmRequest("plain", "i2v", "", 0.5, 12, 160, 120, 0, camera={axis: strength},
                              pictures=(Picture("first", Path(tmp_path / "white.png"), "0" * 64),))
        for frame in FILM_ENGINES["plain"].frames(request, lambda step: None, lambda: False):
            assert frame.min() > 250, "a border shows"
