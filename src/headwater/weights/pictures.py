"""Turn pictures from strangers into plain PNG: decoded in a child process with limits, turned upright, bounded.

Only the commonest formats are read, and of a moving picture the first frame. What an engine is handed was written
here, so no decoder of an engine ever sees a stranger's bytes. Knows no model and no API.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Sequence

from headwater.core.errors import BadInput

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
PICTURES_MAX = 16
BYTES_MAX = 12 * 1024 * 1024
"""Of one picture as it arrives. A request, which carries them as base64, has 16 MiB at most."""
PIXELS_MAX = 40_000_000
"""Of one picture as it says of itself, before anything is decoded: a bomb of few bytes has many."""
SIDE_MAX = 2048
"""Pixels of the longer side after decoding; larger ones are scaled down. No projector reads as many at once."""
OUT_MAX = 32 * 1024 * 1024
"""Bytes of all PNGs of one request together."""
CPU_S, WALL_S, MEMORY_BYTES = 20, 30, 1 << 30


class BadPicture(BadInput):
    """What was sent is no picture that is read here; the message says which of them and why."""

    code = "BadPicture"


def plain(pictures: Sequence[bytes]) -> list[bytes]:
    """Each as an upright RGB PNG of at most SIDE_MAX a side, clear parts on white. Blocking, some 0.2 s.

    Raises BadPicture.
    """
    if len(pictures) > PICTURES_MAX:
        raise BadPicture(f"The request has {len(pictures)} pictures; at most {PICTURES_MAX} are read.")
    for n, data in enumerate(pictures, 1):
        if len(data) > BYTES_MAX:
            raise BadPicture(f"Picture {n} has {len(data):,} bytes; at most {BYTES_MAX:,} are read.")
    order = b"".join(struct.pack("<Q", len(data)) + data for data in pictures)
    try:
        done = subprocess.run([sys.executable, "-I", "-m", "headwater.weights.pictures"], input=order,
                              capture_output=True, timeout=WALL_S, env={}, check=True)
    except subprocess.TimeoutExpired:
        raise BadPicture(f"The pictures took more than {WALL_S} s to read.") from None
    except subprocess.CalledProcessError:
        raise BadPicture(f"The pictures took more than {CPU_S} s or {MEMORY_BYTES >> 20} MiB to read.") from None
    head, _, body = done.stdout.partition(b"\n")
    answer = json.loads(head)
    if isinstance(answer, str):
        raise BadPicture(answer)
    made = []
    for length in answer:
        made.append(body[:length])
        body = body[length:]
    return made


def _read(n: int, data: bytes) -> bytes:
    import io

    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > PIXELS_MAX:
                raise BadPicture(f"Picture {n} has {width} x {height} pixels; at most {PIXELS_MAX:,} are read.")
            image.draft("RGB", (SIDE_MAX, SIDE_MAX))  # a large JPEG is decoded smaller, in a fraction of the time
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            upright = upright.convert("RGB")
            upright.thumbnail((SIDE_MAX, SIDE_MAX))
            written = io.BytesIO()
            upright.save(written, "PNG", compress_level=1)
            return written.getvalue()
    except UnidentifiedImageError:
        raise BadPicture(f"Picture {n} is none of {', '.join(FORMATS)}.") from None
    except BadPicture:
        raise
    except MemoryError:
        raise BadPicture(f"Picture {n} takes too much memory.") from None
    except Exception as error:  # a stranger's bytes fail in any way: OSError, SyntaxError, struct.error, ValueError
        raise BadPicture(f"Picture {n} cannot be read: {type(error).__name__}: {error}"[:300]) from None


def main() -> None:
    """The child of plain(): sizes and bytes on standard input; lengths in a line of JSON, then PNGs, on output."""
    import resource

    import PIL.BmpImagePlugin
    import PIL.GifImagePlugin
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.WebPImagePlugin  # noqa: F401  all imported before the limits, so that these are the picture's alone

    order = sys.stdin.buffer.read()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    made, at = [], 0
    try:
        while at < len(order):
            length = struct.unpack_from("<Q", order, at)[0]
            made.append(_read(len(made) + 1, order[at + 8:at + 8 + length]))
            at += 8 + length
            if sum(map(len, made)) > OUT_MAX:
                raise BadPicture(f"The first {len(made)} pictures make {OUT_MAX >> 20} MiB as PNG; send fewer, or "
                                 "smaller ones.")
    except BadPicture as error:
        sys.stdout.buffer.write(json.dumps(error.message).encode() + b"\n")
        return
    sys.stdout.buffer.write(json.dumps([len(one) for one in made]).encode() + b"\n" + b"".join(made))


if __name__ == "__main__":
    main()
