"""Programs of others that look at a film: ffmpeg decodes it, C2PA's own library reads its credential."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import c2pa

from headwater.film.credit import RECIPE


class Seen(NamedTuple):
    """What ffmpeg counted while it decoded: every frame once, each for as long as the next."""

    frames: int
    width: int
    height: int
    fps: Fraction


@cache
def ffmpeg() -> str:
    """The one installed, else the one that imageio-ffmpeg brings."""
    if found := shutil.which("ffmpeg"):
        return found
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def decoded(data: bytes) -> Seen:
    """Raises AssertionError when ffmpeg has a word of complaint, even one it goes on after."""
    done = subprocess.run([ffmpeg(), "-v", "error", "-xerror", "-i", "pipe:0", "-f", "framecrc", "-"], input=data,
                          capture_output=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()[-2_000:]
    text = done.stdout.decode()
    width, height = map(int, re.search(r"^#dimensions 0: (\d+)x(\d+)$", text, re.M).groups())
    # index of the stream, decoding time, showing time, how long, bytes, checksum
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    assert [int(row[2]) for row in rows] == list(range(len(rows))) and {int(row[3]) for row in rows} == {1}
    return Seen(len(rows), width, height, 1 / Fraction(re.search(r"^#tb 0: (\S+)$", text, re.M)[1]))


def manifest(data: bytes) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(what C2PA says of the file, the manifest in force, the recipe in it)."""
    store = json.loads(c2pa.Reader("video/mp4", io.BytesIO(data)).json())
    active = store["manifests"][store["active_manifest"]]
    recipe = next(one["data"] for one in active["assertions"] if one["label"] == RECIPE)
    return store["validation_state"], active, recipe


def state(data: bytes) -> str:
    """"Valid" for a film nobody touched; "Invalid", or what was wrong with it, for others."""
    try:
        return c2pa.Reader("video/mp4", io.BytesIO(data)).get_validation_state()
    except c2pa.C2paError as error:
        return type(error).__name__


def boxes(data: bytes) -> Iterator[tuple[str, int, int]]:
    """(kind, begin, end) of the boxes an MP4 is made of."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "big")
        yield data[at + 4:at + 8].decode(), at, at + size
        at += size


def flipped(data: bytes, times: int, seed: int = 0) -> Iterator[bytes]:
    """The film with one bit turned, somewhere in its pictures or in their index. The credential's own box has room at
    its end that C2PA signs no more than the four letters that say what kind of file it is."""
    draw = random.Random(seed)
    places = [(begin + 8, end) for kind, begin, end in boxes(data) if kind in ("moov", "mdat")]
    for number in range(times):
        begin, end = places[number % len(places)]
        touched = bytearray(data)
        touched[draw.randrange(begin, end)] ^= 1 << draw.randrange(8)
        yield bytes(touched)
