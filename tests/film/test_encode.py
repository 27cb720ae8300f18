"""Frames become a file that players play; what is no video is refused."""

import io
from collections import Counter

import av
import numpy as np
import pytest
from film_made import drift
from film_witness import flipped
from PIL import Image

from headwater.core.errors import BadInput, CorruptFile, DiskFull
from headwater.film import encode as enc


def test_a_film_plays_in_every_browser(tmp_path):
    clip = enc.encode(drift(24, (64, 96)), tmp_path / "a.mp4", fps=12, comment="made here")
    with av.open(str(tmp_path / "a.mp4")) as box:
        stream = box.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert box.metadata["comment"] == "made here"
        assert sum(1 for _ in box.decode(stream)) == 24
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index comes first, so it plays while it loads"
    assert clip == enc.look(tmp_path / "a.mp4") == enc.Clip(96, 64, 24, 12.0)
    assert clip.seconds == 2.0


def test_the_same_frames_give_the_same_file_whatever_lies_in_memory(tmp_path):
    frames, kept, made = list(drift(12, (240, 320))), [], set()
    for number in range(8):
        kept.append(np.full(1_000 * (number * 7 % 13 + 1), number, np.uint8))
        enc.encode(frames, tmp_path / "a.mp4", fps=12)
        made.add((tmp_path / "a.mp4").read_bytes())
    assert len(made) == 1


def test_what_is_decoded_is_what_was_encoded(tmp_path):
    frames = list(drift(6, (64, 96)))
    enc.encode(frames, tmp_path / "a.mp4", fps=12)
    for before, after in zip(frames, enc.decode(tmp_path / "a.mp4"), strict=True):
        assert np.abs(before.astype(int) - after).mean() < 4


@pytest.mark.parametrize(("frames", "says"), [
    ([], "no frame"),
    ([np.zeros((63, 64, 3), np.uint8)], "even"),
    ([np.zeros((64, 64, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)], "Frame 1 is 64x32"),
])
def test_frames_that_make_no_film_are_refused_and_leave_no_file(tmp_path, frames, says):
    with pytest.raises(BadInput, match=says):
        enc.encode(frames, tmp_path / "a.mp4", fps=12)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_no_file(tmp_path, small_disk):
    noise = np.random.default_rng(0)
    with pytest.raises(DiskFull):
        enc.encode((noise.integers(0, 255, (720, 1280, 3), np.uint8) for _ in range(40)), small_disk / "a.mp4", fps=24)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"not a video", b"\0" * 4096])
def test_what_is_no_video_is_refused(tmp_path, data):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(CorruptFile):
        enc.look(tmp_path / "a.mp4")


def test_a_flipped_bit_leaves_a_video_or_is_refused(tmp_path):
    enc.encode(drift(4, (64, 96)), tmp_path / "a.mp4", fps=12, comment="made here")
    told = Counter()
    for data in flipped((tmp_path / "a.mp4").read_bytes(), 120):
        (tmp_path / "b.mp4").write_bytes(data)
        try:
            told["read"] += enc.look(tmp_path / "b.mp4").width > 0
            told["frames"] += sum(1 for _ in enc.decode(tmp_path / "b.mp4")) > 0
        except CorruptFile as error:
            told["refused"] += error.message.endswith(".")
    assert told["frames"] and told["refused"] and told["read"] + told["refused"] >= 120


def test_a_film_whose_title_is_in_another_alphabet_is_read(tmp_path):
    enc.encode(drift(4, (64, 96)), tmp_path / "a.mp4", fps=12, comment="made here")
    data = (tmp_path / "a.mp4").read_bytes().replace(b"made here", "老照片 ".encode("gb18030").ljust(9))
    (tmp_path / "b.mp4").write_bytes(data)
    assert enc.look(tmp_path / "b.mp4") == enc.look(tmp_path / "a.mp4") == enc.Clip(96, 64, 4, 12.0)
    assert len(list(enc.decode(tmp_path / "b.mp4"))) == 4


def test_a_film_cut_in_half_is_refused(tmp_path):
    enc.encode(drift(24, (64, 96)), tmp_path / "a.mp4", fps=12)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 8])
    with pytest.raises(CorruptFile):
        enc.look(tmp_path / "b.mp4")


def test_a_film_of_one_frame_has_its_poster_and_sheet(tmp_path):
    enc.encode(drift(1, (64, 96)), tmp_path / "a.mp4", fps=12)
    assert Image.open(io.BytesIO(enc.poster(tmp_path / "a.mp4"))).size == (96, 64)
    assert Image.open(io.BytesIO(enc.spritesheet(tmp_path / "a.mp4", tile_width=48))).size == (48 * 5, 32 * 4)
