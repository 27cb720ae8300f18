"""What a video that arrived is, by its header: run in a process of its own, under limits, because anybody wrote it.

    python -I -m headwater.film_engines.remote_videos._look FILE MEMORY_BYTES

One line of JSON on standard output: {"width", "height", "fps", "seconds", "sound"}, or {"error"}.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import CorruptFile

CPU_S, WAIT_S = 30, 60.0
SIDE_MAX, SIDE_MIN, FPS_MAX = 4_096, 16, 120


@dataclass(frozen=True)
class Found:
    """seconds: as the file's header has it, 0.0 where it does not say."""

    width: int
    height: int
    fps: float
    seconds: float
    sound: bool


def look(file: Path, memory_bytes: int) -> Found:
    """Raises CorruptFile for what is no video, or one of an impossible size."""
    program = [sys.executable, "-I", "-m", __spec__.name if __spec__ else __name__, str(file), str(memory_bytes)]
    try:
        done = subprocess.run(program, capture_output=True, timeout=WAIT_S, check=False, stdin=subprocess.DEVNULL,
                              env={"PATH": "", "HOME": tempfile.gettempdir()}, cwd="/")
        said = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise CorruptFile(f"The video could not be read within {WAIT_S:.0f} s.") from None
    except ValueError:
        raise CorruptFile("The video could not be read: its reader died.") from None
    if "error" in said:
        raise CorruptFile(said["error"])
    return Found(**said)


def _found(file: str) -> dict[str, object]:
    import av

    try:
        with av.open(file, metadata_errors="replace") as box:
            if not box.streams.video:
                return {"error": "The file holds no video."}
            stream = box.streams.video[0]
            if stream.codec_context is None:
                return {"error": "The file says it holds a video, of a kind that cannot be read here."}
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            size = (stream.width, stream.height)
            if not SIDE_MIN <= min(size) <= max(size) <= SIDE_MAX or not 0 < fps <= FPS_MAX:
                return {"error": f"The video is {size[0]}x{size[1]} at {fps:g} frames a second; a side has {SIDE_MIN} "
                                 f"to {SIDE_MAX} pixels, a second at most {FPS_MAX} frames."}
            seconds = (box.duration or 0) / av.time_base
            return {"width": size[0], "height": size[1], "fps": fps, "seconds": seconds,
                    "sound": bool(box.streams.audio)}
    except (av.FFmpegError, OSError, ValueError) as error:
        return {"error": f"This cannot be read as a video: {getattr(error, 'strerror', None) or error}."}


def main() -> None:
    memory = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(_found(sys.argv[1])))


if __name__ == "__main__":
    main()
