"""The program a stranger's video is opened in, started by film/footage.py, so that what a broken or hostile one does to
its decoder ends here.

    python -I -m headwater.film._reader FILE last|all MEMORY_BYTES CPU_SECONDS FRAMES_MAX

Out, on standard output: a line of JSON, {"width", "height", "fps", "frames"} or {"error", "hint"}; then, for "last",
the last frame as PNG, and for "all" every frame's raw RGB bytes. An odd row or column at the edge is left out.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np

from headwater.core.errors import HeadwaterError, TooLarge
from headwater.film.encode import Clip, decode, look

SIDE_MIN, SIDE_MAX = 64, 4_096


def main() -> None:
    file, what, memory, seconds, most = sys.argv[1], sys.argv[2], *(int(text) for text in sys.argv[3:6])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout.buffer
    try:
        _answer(Path(file), what, most, out)
    except HeadwaterError as error:
        _say(out, {"error": error.message, "hint": error.hint})
    except MemoryError:
        _say(out, {"error": "The video needs too much memory to be read.", "hint": "Send a smaller one."})
    except (ValueError, OSError, ArithmeticError) as error:  # what a decoder says of what it cannot read
        _say(out, {"error": f"This cannot be read as a video: {type(error).__name__}.", "hint": None})
    out.flush()


def _answer(file: Path, what: str, most: int, out: BinaryIO) -> None:
    clip = look(file, most)
    width, height = clip.width // 2 * 2, clip.height // 2 * 2
    if not SIDE_MIN <= min(width, height) <= max(width, height) <= SIDE_MAX:
        raise TooLarge(f"The video is {clip.width}x{clip.height}; a side has {SIDE_MIN} to {SIDE_MAX:,} pixels.")
    if what == "all":
        _say(out, _told(clip, width, height))
        for frame in decode(file):
            out.write(np.ascontiguousarray(frame[:height, :width]).tobytes())
        return
    last = None
    for frame in decode(file):
        last = frame
    if last is None:
        raise TooLarge("The video holds no frame.")
    png = _png(last[:height, :width])
    _say(out, _told(clip, width, height))
    out.write(png)


def _told(clip: Clip, width: int, height: int) -> dict[str, float]:
    return {"width": width, "height": height, "fps": clip.fps, "frames": clip.frames}


def _say(out: BinaryIO, said: dict[str, object]) -> None:
    out.write(json.dumps(said).encode() + b"\n")


def _png(frame: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(out, "PNG", compress_level=1)
    return out.getvalue()


if __name__ == "__main__":
    main()
