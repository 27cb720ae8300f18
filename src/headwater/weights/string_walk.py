"""Walk an array of strings that each stand behind their length (GGUF's): where each begins, many at a time.

A length is 8 bytes and of nearly every token only its first is not 0, so seven zeros in a row show where strings may
begin. A row of such places is taken only where every string ends exactly where the next one begins, which is what
walking one by one would have found; where that fails one string is walked by its length. Reads any bytes, however made.
"""

from __future__ import annotations

import numpy as np

_LENGTH = 8


def walk(window: bytes | memoryview, at: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 twice: first byte and byte behind the last of the strings' text. At most `most` strings, from byte `at` of
    the window on; fewer where one does not end inside it."""
    data = np.frombuffer(window, np.uint8)
    begins = _places(data, at)
    stops = begins + _LENGTH + data[begins]
    inside = int(np.searchsorted(stops, len(data), "right"))
    begins, stops = begins[:inside], stops[:inside]
    breaks = np.flatnonzero(stops[:-1] != begins[1:])
    found: list[tuple[np.ndarray, np.ndarray]] = []
    left = most
    while left > 0:
        first = int(np.searchsorted(begins, at))
        if first < len(begins) and begins[first] == at:
            number = int(np.searchsorted(breaks, first))
            last = int(breaks[number]) if number < len(breaks) else len(begins) - 1
            part = slice(first, min(last + 1, first + left))
            found.append((begins[part] + _LENGTH, stops[part]))
            left -= part.stop - first
            at = int(stops[part.stop - 1])
            continue
        one = _single(window, at, min(left, 64), begins)
        if not len(one[0]):
            break
        found.append(one)
        left -= len(one[0])
        at = int(one[1][-1])
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def _places(data: np.ndarray, at: int) -> np.ndarray:
    """int64: from `at` on, bytes that are not 0 with seven zeros behind them; their stops rise."""
    empty = data[at:] == 0
    two = empty[:-1] & empty[1:]
    four = two[:-2] & two[2:]
    seven = four[:-3] & four[3:]
    begins = np.flatnonzero(seven[1:] & ~empty[:max(len(seven) - 1, 0)]) + at
    # A false place inside a text could reach behind the next one; stops that do not rise end the quick way there.
    stops = begins + data[begins]
    falling = stops[1:] <= stops[:-1]
    return begins[:int(np.argmax(falling)) + 1] if falling.any() else begins


def _single(window: bytes | memoryview, at: int, most: int, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, one by one, until a place is met where many may be taken again."""
    starts, stops, take = [], [], int.from_bytes
    after = int(np.searchsorted(begins, at, "right"))
    quick = int(begins[after]) if after < len(begins) else -1
    for _ in range(most):
        begin = at + _LENGTH
        stop = begin + take(window[at:begin], "little")
        if begin > len(window) or stop > len(window):
            break
        starts.append(begin)
        stops.append(stop)
        at = stop
        if at == quick:
            break
    return np.array(starts, np.int64), np.array(stops, np.int64)
