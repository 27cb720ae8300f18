"""A copy of a film finds its record; another film does not."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from film_made import drift

from headwater.film.encode import decode, encode
from headwater.film.mark import NEAR, find, mark_of


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Twelve films and their marks."""
    room = tmp_path_factory.mktemp("films")
    for seed in range(12):
        encode(drift(24, (128, 160), seed), room / f"{seed}.mp4", fps=12)
    return room, {str(seed): mark_of(room / f"{seed}.mp4") for seed in range(12)}


def copy(source: Path, target: Path, change=lambda frame: frame, codec="libx264", crf="28") -> Path:
    frames = [np.ascontiguousarray(change(frame)) for frame in decode(source)]
    with av.open(str(target), "w") as out:
        stream = out.add_stream(codec, rate=12, options={"crf": crf})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 12)
        for n, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = n
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return target


@pytest.mark.parametrize(("name", "change", "codec", "crf"), [
    ("encoded again, badly", lambda f: f, "libx264", "40"),
    ("half the size", lambda f: f[::2, ::2], "libx264", "32"),
    ("by another codec", lambda f: f, "libvpx-vp9", "45"),
    ("5 % cropped", lambda f: f[6:-6, 8:-8], "libx264", "28"),
    ("mirrored", lambda f: f[:, ::-1], "libx264", "28"),
    ("brighter", lambda f: np.clip(f.astype(int) + 25, 0, 255).astype(np.uint8), "libx264", "28"),
])
def test_a_copy_finds_its_film_and_no_other(films, tmp_path, name, change, codec, crf):
    room, known = films
    for seed in (0, 5, 11):
        found = find(copy(room / f"{seed}.mp4", tmp_path / f"{seed}.mkv", change, codec, crf), known)
        assert [row[0] for row in found] == [str(seed)], (name, found)
        assert found[0][1] < NEAR * 0.8 and found[0][2] == (name == "mirrored"), (name, found)


def test_films_nobody_knows_are_near_to_none(films, tmp_path):
    _, known = films
    for seed in range(100, 106):
        encode(drift(24, (128, 160), seed), tmp_path / "a.mp4", fps=12)
        assert find(tmp_path / "a.mp4", known) == []


def test_half_the_film_at_another_pace_is_not_called_the_same(films, tmp_path):
    """The mark is of the whole film, twelve frames evenly through it."""
    room, known = films
    encode(list(decode(room / "3.mp4"))[:4], tmp_path / "a.mp4", fps=12)
    assert len(find(tmp_path / "a.mp4", known)) <= 1
