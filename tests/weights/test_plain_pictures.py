"""Pictures from strangers: made plain, or refused with a sentence; never a crash, never out of bounds."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headwater.weights import pictures
from headwater.weights.pictures import BadPicture, plain

NOISE = np.random.default_rng(1).integers(0, 255, (30, 40, 3), dtype=np.uint8)


def written(image: Image.Image, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def read(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG" and image.mode == "RGB"
        return np.asarray(image)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is so large, in some hundred bytes."""
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))


def test_each_format_comes_out_as_the_same_pixels():
    image = Image.fromarray(NOISE)
    same = [written(image), written(image, "BMP"), written(image, "WEBP", lossless=True)]
    near = [written(image, "JPEG", quality=95), written(image.quantize(256), "GIF")]
    made = [read(data) for data in plain([*same, *near])]
    assert all((one == NOISE).all() for one in made[:3])
    assert all(one.shape == NOISE.shape for one in made[3:])


def test_a_picture_is_turned_upright_and_clear_parts_are_white():
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    upright, white, grey = plain([written(Image.fromarray(NOISE), exif=turned), written(clear),
                                  written(Image.new("L", (3, 3), 7))])
    assert (read(upright) == np.rot90(NOISE, -1)).all()
    assert (read(white) == 255).all() and (read(grey) == 7).all()


def test_a_large_one_is_scaled_down_and_keeps_its_shape():
    assert read(plain([written(Image.new("RGB", (4096, 1024)), "JPEG")])[0]).shape == (512, 2048, 3)


@pytest.mark.parametrize(("data", "why"), [
    (bomb(50_000, 50_000), "pixels"), (bomb(300, 300), "cannot be read|broken"), (b"", "none of PNG"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "none of PNG"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "none of PNG"),
    (written(Image.fromarray(NOISE))[:200], "cannot be read"), (b"\0" * (pictures.BYTES_MAX + 1), "bytes"),
], ids=["bomb", "no pixels", "nothing", "svg", "postscript", "cut", "large"])
def test_what_is_no_picture_is_refused_by_its_number(data, why):
    began = time.monotonic()
    with pytest.raises(BadPicture, match=rf"Picture 2 .*({why})"):
        plain([written(Image.fromarray(NOISE)), data])
    assert time.monotonic() - began < 10


def test_seventeen_pictures_are_too_many():
    with pytest.raises(BadPicture, match="17 pictures"):
        plain([b"x"] * 17)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]), st.integers(0, 900), st.binary(min_size=1, max_size=8))
def test_a_damaged_picture_is_read_or_refused_and_nothing_else(form, at, junk):
    data = written(Image.fromarray(NOISE), form)
    at = min(at, len(data))
    try:  # in this process: the child only adds limits
        pictures._read(1, data[:at] + junk + data[at + len(junk):])
    except BadPicture as error:
        assert error.status == 400
