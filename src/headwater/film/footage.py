"""Films there are, read for a new one that goes on where they end: what they measure, their last frame, their frames.

Every video is opened in a child process under limits (_reader.py), also one of this hub: there is one way to read one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from headwater.core.errors import CorruptFile

MEMORY, CPU_S, FRAMES_MAX = 2_000_000_000, 300, 7_200
LINE_MAX, PNG_MAX = 10_000, 100_000_000
FPS_MAX = 60


@dataclass(frozen=True)
class Footage:
    """fps: whole, as the film that goes on has it; pace: what the file says. last: its last frame as PNG."""

    width: int
    height: int
    frames: int
    fps: int
    pace: float
    last: bytes = b""

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def ending(file: Path) -> Footage:
    """Raises CorruptFile for what is no video, or more of one than is taken."""
    with _reading(file, "last") as (said, out):
        png = out.read(PNG_MAX)
    return _footage(said, png)


def frames_of(file: Path) -> Iterator[np.ndarray]:
    """uint8 (height, width, 3) RGB. Raises CorruptFile, also when they end before what was announced."""
    with _reading(file, "all") as (said, out):
        height, width = int(said["height"]), int(said["width"])
        for _ in range(int(said["frames"])):
            data = out.read(height * width * 3)
            if len(data) < height * width * 3:
                raise CorruptFile("The film this one goes on from cannot be read to its end.")
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


@contextmanager
def _reading(file: Path, what: str) -> Iterator[tuple[dict[str, Any], IO[bytes]]]:
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir(), "OPENBLAS_NUM_THREADS": "1"}
    reader = subprocess.Popen(
        [sys.executable, "-I", "-m", "headwater.film._reader", str(file), what, str(MEMORY), str(CPU_S),
         str(FRAMES_MAX)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment, cwd="/")
    out = reader.stdout
    assert out is not None
    try:
        line = out.readline(LINE_MAX)
        said = json.loads(line) if line.endswith(b"\n") else {"error": "This cannot be read as a video: its decoder "
                                                                       "ended.", "hint": None}
        if "error" in said:
            raise CorruptFile(said["error"], hint=said["hint"])
        yield said, out
    finally:
        reader.kill()
        reader.wait()
        out.close()


def _footage(said: dict[str, Any], png: bytes) -> Footage:
    pace = float(said["fps"]) or 24.0
    return Footage(int(said["width"]), int(said["height"]), int(said["frames"]), max(1, min(FPS_MAX, round(pace))),
                   pace, png)
