"""Sorted tables that find which stored vectors of signs are near a given one. Knows bits, and no models.

A vector is BYTES bytes of signs. Each of BANDS tables has a key of 24 of its bits; two vectors that differ in a share p
of their bits have a key in common with probability 1 - (1 - (1 - p)^24)^8: .99 at 3 %, .86 at 6 %, .49 at 10 %. Many
neurons of a model ask, so a descendant is found long after most single ones are not. A key in common is checked by the
whole distance, which unrelated vectors do not reach (384 of 768 bits, standard deviation 14, or a little more in real
models; NEAR is ten of these below).

Tables are kept in segments that are only written whole and merged two by two, so there are few.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from headwater.trace.frame import DIMENSIONS

BYTES = DIMENSIONS // 8
BANDS = 8
KEY_BITS = 24
NEAR = 240
"""Bits two vectors of kin may differ in."""
TAIL = 32_768
"""Keys of each table held in memory before they are written."""
_MOST = 512
"""Vectors looked at for one key."""
_SPARED = 2
"""Where fewer bits than a key has must be in common, so many of the others may differ: two of three unrelated vectors
are left out before they are fetched, which is most of what a question costs."""
_CHUNK = 1 << 16
_NAME = re.compile(r"(\d+)-(\d+)\Z")
_U64 = np.uint64


def keys_of(vectors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """uint64 (BANDS, n): 24 bits of the vector over 32 bits of its number."""
    at = np.arange(BANDS) * (BYTES // BANDS)
    parts = [vectors[:, at + n].astype(_U64) for n in range(3)]
    keys = (parts[0] << _U64(16)) | (parts[1] << _U64(8)) | parts[2]
    return (keys.T << _U64(32)) | numbers.astype(_U64)[None]


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many bits differ, along the last axis of uint8 (..., BYTES)."""
    words = np.ascontiguousarray(one).view(_U64) ^ np.ascontiguousarray(other).view(_U64)
    return np.bitwise_count(words).sum(-1, dtype=np.int32)


class Tables:
    """Of a folder. Slots are what the caller counts by; a segment holds the keys of the slots [start, stop)."""

    def __init__(self, folder: Path, slots: int):
        """slots: how many the caller has; what was written of more is dropped, for they may come anew."""
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._segments: list[tuple[int, int, np.ndarray]] = []
        self.stop = 0
        for start, stop, path in sorted(self._found(), key=lambda s: (s[0], -s[1])):
            size = path.stat().st_size
            if start == self.stop and stop <= slots and size % (8 * BANDS) == 0:
                if size:
                    self._segments.append((start, stop, _map(path, size)))
                    self.stop = stop
            else:
                path.unlink()
        self._flushed = self.stop
        self._tail: list[np.ndarray] = []
        self._sorted: np.ndarray | None = None

    def _found(self) -> list[tuple[int, int, Path]]:
        found = []
        for path in self._folder.iterdir():
            match = _NAME.match(path.name)
            if match:
                found.append((int(match[1]), int(match[2]), path))
            else:
                path.unlink()  # one that was being written
        return found

    def add(self, start: int, stop: int, keys: np.ndarray) -> None:
        """Keys of the slots [start, stop), which follow those that are there."""
        assert start == self.stop
        self._tail.append(keys)
        self._sorted, self.stop = None, stop
        if sum(part.shape[1] for part in self._tail) >= TAIL:
            self._flush()

    def near(self, asked: np.ndarray, vectors: np.ndarray, bits: int = KEY_BITS) -> np.ndarray:
        """Numbers of the vectors that are near one of `asked` (m, BYTES) and have a key in common with it. May repeat.

        vectors: (numbers, BYTES), what numbers stand for. bits: of the key that must be in common, its first.
        """
        if not len(asked) or not self.stop:
            return np.zeros(0, np.int64)
        if self._sorted is None and self._tail:
            self._sorted = np.sort(np.concatenate(self._tail, axis=1), axis=1)
        tables = [table for _, _, table in self._segments] + ([self._sorted] if self._sorted is not None else [])
        keys = keys_of(asked, np.arange(len(asked)))
        found = [_near(table[band], keys[band], asked, vectors, bits) for table in tables for band in range(BANDS)]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _flush(self) -> None:
        """Write the tail, and with it the segments behind that are no larger."""
        parts, start = list(self._tail), self._flushed
        old: list[Path] = []
        while self._segments and self._segments[-1][2].shape[1] <= sum(p.shape[1] for p in parts):
            start, stop, table = self._segments.pop()
            parts.append(table)
            old.append(self._folder / f"{start}-{stop}")
        size = sum(part.shape[1] for part in parts)
        path, part = self._folder / f"{start}-{self.stop}", self._folder / "writing"
        with part.open("wb") as file:
            for band in range(BANDS):
                file.write(np.sort(np.concatenate([p[band] for p in parts])).data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        for gone in old:
            gone.unlink()
        self._segments.append((start, self.stop, _map(path, size * 8 * BANDS)))
        self._tail, self._sorted, self._flushed = [], None, self.stop


def _map(path: Path, size: int) -> np.ndarray:
    return np.memmap(path, _U64, "r", shape=(BANDS, size // (8 * BANDS)))


def _near(table: np.ndarray, keys: np.ndarray, asked: np.ndarray, vectors: np.ndarray, bits: int) -> np.ndarray:
    ordered, left_out = np.sort(keys), _U64(32 + KEY_BITS - bits)
    first = (ordered >> left_out) << left_out
    low = np.searchsorted(table, first)
    high = np.searchsorted(table, first + (_U64(1) << left_out))
    many = np.minimum(high - low, _MOST)
    total = int(many.sum())
    if not total:
        return np.zeros(0, np.int64)
    # The ranges low..low + many, one after another.
    starts = np.repeat(low - np.concatenate([[0], np.cumsum(many)[:-1]]), many)
    places = starts + np.arange(total)
    asking = np.repeat(ordered, many)
    found = []
    for start in range(0, total, _CHUNK):
        entries, by = table[places[start:start + _CHUNK]], asking[start:start + _CHUNK]
        if bits < KEY_BITS:
            alike = np.bitwise_count((entries ^ by) >> _U64(32)) <= _SPARED
            entries, by = entries[alike], by[alike]
        numbers, who = ((keys & _U64(0xFFFFFFFF)).astype(np.int64) for keys in (entries, by))
        found.append(numbers[distances(vectors[numbers], asked[who]) <= NEAR])
    return np.concatenate(found)
