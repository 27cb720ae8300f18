"""A film's mark: what it looks like in a few bits, so that a copy that lost its credential still finds its record.

Twelve frames, evenly spaced in time; of each, 16 x 16 signs of whether a spot is brighter than the one left of it and
as many of whether it is brighter than the one above (dHash). Re-encoding, halving and a small crop change few of the
signs. It proves nothing about who made a film: it finds the record that may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.film.encode import decode, look

FRAMES = 12
SIDE = 16
BYTES = FRAMES * 2 * SIDE * SIDE // 8
NEAR = 0.22
"""Copies were at most .17 away, of 1,560 pairs of other films the nearest .33 (tests/film/test_mark.py)."""
_CUTS = (0.0, 0.03, 0.06)
"""A cropped copy is looked for by cropping the known film likewise; kept marks are of the whole frame, so the copy's
frames are compared as they are and the known one's marks are kept for these crops too."""


def mark_of(source: Path) -> bytes:
    """BYTES for the whole frame, then for each crop: len(_CUTS) * BYTES in all. Raises CorruptFile."""
    frames = _pick(source)
    return b"".join(_bits(frames, cut) for cut in _CUTS)


def find(copy: Path, known: Mapping[str, bytes]) -> list[tuple[str, float, bool]]:
    """(name, distance, mirrored) of the known films that `copy` may be a copy of, nearest first.

    distance: the share of signs that differ, 0 to 1; only those under NEAR are told.
    """
    frames = _pick(copy)
    asked = {False: _bits(frames, 0.0), True: _bits([f[:, ::-1] for f in frames], 0.0)}
    found = []
    for name, mark in known.items():
        away, mirrored = min((distance(signs, mark), flip) for flip, signs in asked.items())
        if away < NEAR:
            found.append((name, away, mirrored))
    return sorted(found, key=lambda row: row[1])


def distance(signs: bytes, mark: bytes) -> float:
    """The least share of differing signs between one film's BYTES and any crop in the other's mark."""
    one = np.frombuffer(signs, np.uint8)
    many = np.frombuffer(mark, np.uint8).reshape(-1, BYTES)
    return float(np.bitwise_count(many ^ one).sum(1).min()) / (BYTES * 8)


def _pick(source: Path) -> list[np.ndarray]:
    """FRAMES greyscale frames, float32; a film with fewer gives its frames more than once."""
    total = look(source).frames
    if not total:
        raise CorruptFile("The video holds no frame.")
    wanted = [(2 * i + 1) * total // (2 * FRAMES) for i in range(FRAMES)]
    asked = set(wanted)
    kept = {n: _grey(f) for n, f in enumerate(decode(source)) if n in asked}
    return [kept[n] for n in wanted]


def _grey(frame: np.ndarray) -> np.ndarray:
    return frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _bits(frames: Iterable[np.ndarray], cut: float) -> bytes:
    rows = []
    for frame in frames:
        dy, dx = round(frame.shape[0] * cut), round(frame.shape[1] * cut)
        part = frame[dy:frame.shape[0] - dy, dx:frame.shape[1] - dx]
        small = _shrink(part)
        rows += [small[1:, 1:] > small[1:, :-1], small[1:, 1:] > small[:-1, 1:]]
    return np.packbits(np.stack(rows)).tobytes()


def _shrink(frame: np.ndarray) -> np.ndarray:
    """float32 (SIDE + 1, SIDE + 1): means over the cells of a grid."""
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX), np.float32)
