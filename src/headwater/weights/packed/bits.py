"""Whole numbers of 1 to 8 bits taken out of packed words, and the bytes of chosen rows they lie in.

Knows how bits stand in bytes and where rows begin; knows no format, no scale and no model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.weights.source import MappedSource, Source, seen
from headwater.weights.values import BLOCK_BYTES, GAP_BYTES

UNIT = 32
"""Numbers that fill whole words of 32 bits, whatever their bits."""


def unpack(packed: np.ndarray, bits: int, high_first: bool = False) -> np.ndarray:
    """uint8 (n, numbers) of uint8 (n, bytes): numbers follow one another from the lowest bit of the first byte on, also
    across bytes and words. high_first: of two numbers in a byte the first is in the upper half. Of 3, 5, 6 and 7 bits
    the bytes must be whole words of 32 bits; what is left over at their end is dropped."""
    if bits == 8:
        return packed
    if bits in (1, 2, 4):
        each = 8 // bits
        found = np.empty((*packed.shape, each), np.uint8)
        for place in range(each):
            shift = bits * (each - 1 - place if high_first else place)
            np.bitwise_and(packed >> np.uint8(shift), (1 << bits) - 1, out=found[..., place])
        return found.reshape(len(packed), -1)
    words = np.ascontiguousarray(packed).view("<u4").astype(np.uint64)
    words |= np.append(words[:, 1:], np.zeros((len(words), 1), np.uint64), axis=1) << np.uint64(32)
    starts = np.arange(words.shape[1] * 32 // bits) * bits
    wide = words[:, starts >> 5] >> (starts & 31).astype(np.uint64)
    return (wide & np.uint64((1 << bits) - 1)).astype(np.uint8)


def stored_rows(source: Source, start: int, row_bytes: int, numbers: np.ndarray, low: int, high: int) -> np.ndarray:
    """uint8 (len(numbers), high - low): the bytes [low, high) of chosen rows, in the order asked. Rows of `row_bytes`
    follow one another from byte `start` of the source on. Near ones are read in one go."""
    found = np.empty((len(numbers), high - low), np.uint8)
    if not found.size:
        return found
    if int(numbers.min()) < 0:
        raise CorruptFile(f"row {int(numbers.min())} was asked of a tensor.")
    order = np.argsort(numbers, kind="stable")
    wanted = numbers[order]
    for at, stop in _runs(wanted, row_bytes, high - low, source):
        first, last = int(wanted[at]), int(wanted[stop - 1])
        data = np.frombuffer(seen(source, start + first * row_bytes + low, start + last * row_bytes + high,
                                  (stop - at) * (high - low)), np.uint8)
        places = wanted[at:stop] - first
        if last > first:
            data = np.lib.stride_tricks.as_strided(data, (last - first + 1, high - low), (row_bytes, 1),
                                                   writeable=False)
        found[order[at:stop]] = data.reshape(-1, high - low)[places]
    return found


def _runs(wanted: np.ndarray, row_bytes: int, taken: int, source: Source) -> Iterator[tuple[int, int]]:
    """Rising rows cut where one request ends: at a gap that costs more than another, or where it grows too long."""
    viewed = hasattr(source, "view")
    gap, most = (MappedSource.WINDOW // 2, MappedSource.WINDOW // 2) if viewed else (
        getattr(source, "gap_bytes", GAP_BYTES), BLOCK_BYTES)
    breaks = np.flatnonzero(np.diff(wanted) * row_bytes - taken > gap) + 1
    for start, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), len(wanted)], strict=True):
        while start < stop:
            end = start + int(np.searchsorted(wanted[start:stop], wanted[start] + max(most // max(row_bytes, 1), 1)))
            yield start, end
            start = end
