"""Frames to an MP4 every browser plays (H.264, yuv420p, index first), and pictures out of one. Streams; holds a frame.

Knows no engine and signs nothing. PyAV is imported here alone.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headwater.core.errors import BadInput, CorruptFile, DiskFull

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 18
"""x264's rate factor: visually lossless for most pictures."""
SHEET = (5, 4)
"""Columns and rows of a sprite sheet."""
MAX_SIDE = 8_192
MAX_FRAMES = 36_000


@dataclass(frozen=True)
class Clip:
    """What a video file is: pixels, frames as they were counted while decoding or encoding, frames per second."""

    width: int
    height: int
    frames: int
    fps: float

    @property
    def seconds(self) -> float:
        return self.frames / self.fps if self.fps else 0.0


def encode(frames: Iterable[np.ndarray], target: Path, *, fps: int, comment: str = "") -> Clip:
    """Write `target`. frames: uint8 (height, width, 3) RGB, all of one size with even sides.

    Raises BadInput when there is no frame or sizes differ, DiskFull when there is no room; then no file is left.
    """
    import av

    part = target.with_name(target.name + ".part.mp4")
    count, size = 0, (0, 0)
    try:
        with av.open(str(part), "w", options={"movflags": "faststart"}) as out:
            out.metadata["comment"] = comment
            # Without its macroblock tree: there x264's AVX-512 code reads memory it did not write, and the same frames
            # gave eight different files in twenty-four tries (docs/design/009-film.md).
            stream = out.add_stream("libx264", rate=fps, options={"crf": str(QUALITY), "preset": "veryfast",
                                                                  "x264-params": "mbtree=0"})
            stream.pix_fmt, stream.time_base, stream.thread_count = "yuv420p", Fraction(1, fps), 1
            for frame in frames:
                shape = (frame.shape[1], frame.shape[0])
                if not count:
                    size = _even(shape)
                    stream.width, stream.height = size
                elif shape != size:
                    raise BadInput(f"Frame {count} is {shape[0]}x{shape[1]}, the ones before it {size[0]}x{size[1]}.")
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture.pts = count
                out.mux(stream.encode(picture))
                count += 1
            if not count:
                raise BadInput("The engine made no frame, so there is no film.")
            out.mux(stream.encode(None))
        part.replace(target)
    except OSError as error:
        raise (full(error) or error) from None
    finally:
        part.unlink(missing_ok=True)
    return Clip(*size, count, float(fps))


def full(error: OSError) -> DiskFull | None:
    """What an error of writing means to a person when there is no room, on the disk or in a quota; None for others."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return None
    return DiskFull("There is no room left for the film.", hint="Free space, then order it again: the same seed makes "
                                                                "the same film.")


def decode(source: Path) -> Iterator[np.ndarray]:
    """Its frames, uint8 (height, width, 3) RGB. Raises CorruptFile for what is no video, or ends early."""
    import av

    try:
        with av.open(str(source), metadata_errors="replace") as box:  # titles may be in any alphabet
            stream = _video(box)
            for number, frame in enumerate(box.decode(stream)):
                if number >= MAX_FRAMES:
                    raise CorruptFile(f"The video is longer than {MAX_FRAMES} frames.")
                yield frame.to_ndarray(format="rgb24")
    except av.FFmpegError as error:
        raise CorruptFile(f"This cannot be read as a video: {error.strerror}.") from None


def look(source: Path, most: int = MAX_FRAMES) -> Clip:
    """Size, frames and pace, by decoding it all. Raises CorruptFile, also for more than `most` frames."""
    import av

    count = 0
    try:
        with av.open(str(source), metadata_errors="replace") as box:
            stream = _video(box)
            for _ in box.decode(stream):
                count += 1
                if count > most:
                    raise CorruptFile(f"The video is longer than {most:,} frames.")
            return Clip(stream.width, stream.height, count, float(stream.average_rate or 0))
    except av.FFmpegError as error:
        raise CorruptFile(f"This cannot be read as a video: {error.strerror}.") from None


def poster(source: Path) -> bytes:
    """The frame at one third, as WebP."""
    total = look(source).frames
    for number, frame in enumerate(decode(source)):
        if number >= total // 3:
            return _webp(_image(frame), 82)
    raise CorruptFile("The video holds no frame.")


def spritesheet(source: Path, *, tile_width: int = 240) -> bytes:
    """SHEET frames evenly through the film in one WebP, left to right, then down."""
    from PIL import Image

    columns, rows = SHEET
    total = look(source).frames
    wanted = [i * max(total - 1, 0) // (columns * rows - 1) for i in range(columns * rows)]
    sheet: Image.Image | None = None
    tile = (0, 0)
    for number, frame in enumerate(decode(source)):
        if number not in wanted:
            continue
        image = _image(frame)
        if sheet is None:
            tile = (tile_width, max(1, round(image.height * tile_width / image.width)))
            sheet = Image.new("RGB", (tile[0] * columns, tile[1] * rows))
        small = image.resize(tile)
        for place in (i for i, n in enumerate(wanted) if n == number):  # a short film fills several places with one
            sheet.paste(small, (place % columns * tile[0], place // columns * tile[1]))
    if sheet is None:
        raise CorruptFile("The video holds no frame.")
    return _webp(sheet, 78)


def _video(box: object) -> object:
    streams = box.streams.video  # type: ignore[attr-defined]
    if not streams:
        raise CorruptFile("The file holds no video.")
    stream = streams[0]
    if stream.codec_context is None:
        raise CorruptFile("The file says it holds a video, of a kind that cannot be read here.")
    if max(stream.width, stream.height) > MAX_SIDE:
        raise CorruptFile(f"The video is {stream.width}x{stream.height}; the most is {MAX_SIDE} a side.")
    stream.thread_type = "NONE"
    return stream


def _even(size: tuple[int, int]) -> tuple[int, int]:
    if size[0] % 2 or size[1] % 2:
        raise BadInput(f"Frames of {size[0]}x{size[1]} cannot be encoded: both sides must be even.")
    return size


def _image(frame: np.ndarray) -> Image:
    from PIL import Image as images

    return images.fromarray(frame)


def _webp(image: Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality)
    return out.getvalue()
