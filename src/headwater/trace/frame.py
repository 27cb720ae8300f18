"""The token frame: K directions in a model's residual stream that every model with shared tokens has in common.

A token's string is hashed to K signs. Over the anchors (words of 2 to 10 ASCII letters, with or without a leading
space) the embedding rows, made unit, centred and whitened, are summed with those signs: K vectors of the model's own
width. A row that reads the stream, times the frame, lands in a K-dimensional space that is the same for every model:
rotating, permuting or flipping the stream, or shuffling the vocabulary, changes both factors and not their product.

Anchors are thinned by a hash of their string, so two models keep the same ones (docs/design/006-trace.md has what it
costs). Says nothing for a model without token strings, and little for one whose embeddings are all new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater.trace.solve import solve_definite
from headwater.weights.tokens import Tokens

DIMENSIONS = 768
"""K. A profile is stored as K signs, so this is 96 bytes."""
KEEP_ONE_IN = 8
FEWEST = 1_500
"""With fewer anchors than this after thinning, all are kept."""
WHITENED_BY = 1_024
"""Anchors that the covariance is taken from, the ones of lowest hash."""
_COVARIANCE_NUMBERS = 1 << 25
_BLOCK_NUMBERS = 1 << 20
_LONGEST = 10
_U64 = np.uint64


@dataclass(frozen=True)
class Anchors:
    """numbers: token numbers (n,), rising. hashes: uint64 (n,) of their canonical strings. found: before thinning."""

    numbers: np.ndarray
    hashes: np.ndarray
    found: int

    @property
    def thinned(self) -> bool:
        return len(self.numbers) < self.found


@dataclass(frozen=True)
class Frame:
    """directions: float32 (K, width). spread: mean squared norm of a centred unit row. lean: squared norm of the mean.

    dimension: participation ratio of the covariance's eigenvalues, (sum)^2 / sum of squares.
    """

    directions: np.ndarray
    anchors: int
    spread: float
    lean: float
    dimension: float


def find_anchors(tokens: Tokens) -> Anchors:
    """Words of the vocabulary, thinned. Of two tokens with one canonical string the lower number is kept."""
    words, spaced = _words(tokens)
    numbers = np.flatnonzero(words)
    hashes = _hash_words(tokens, numbers, spaced[numbers])
    _, first = np.unique(hashes, return_index=True)
    first.sort()
    numbers, hashes = numbers[first], hashes[first]
    kept = hashes % _U64(KEEP_ONE_IN) == 0
    if kept.sum() < FEWEST:
        kept[:] = True
    return Anchors(numbers[kept], hashes[kept], len(numbers))


def _mark_lengths(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """(bytes of the space mark each token begins with, whether it begins a word)."""
    if tokens.style == "pieces":
        inside = tokens.beginning_with(b"##")
        return np.where(inside, 2, 0), ~inside
    mark = {"bytes": "Ġ".encode(), "space": "▁".encode(), "plain": b" "}[tokens.style]
    spaced = tokens.beginning_with(mark)
    return np.where(spaced, len(mark), 0), spaced


def _words(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """bool (n,), bool (n,): 2 to 10 ASCII letters after an optional space mark; whether there is one."""
    marks, spaced = _mark_lengths(tokens)
    lengths = tokens.stops - tokens.starts - marks
    words = (lengths >= 2) & (lengths <= _LONGEST)
    if not len(tokens.raw):
        return words & False, spaced
    letters = np.zeros(256, bool)
    letters[[*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]] = True
    for offset in range(_LONGEST):
        at = np.minimum(tokens.starts + marks + offset, len(tokens.raw) - 1)
        words &= letters[tokens.raw[at]] | (offset >= lengths)
    return words, spaced


def _hash_words(tokens: Tokens, numbers: np.ndarray, spaced: np.ndarray) -> np.ndarray:
    """uint64 (n,) of the canonical string: 16 bytes of it, mixed."""
    marks, _ = _mark_lengths(tokens)
    begin = tokens.starts[numbers] + marks[numbers]
    lengths = tokens.stops[numbers] - begin
    text = np.zeros((len(numbers), 16), np.uint8)
    text[:, 15] = spaced
    for offset in range(_LONGEST):
        inside = offset < lengths
        text[inside, offset] = tokens.raw[begin[inside] + offset]
    halves = text.view("<u8")
    return mix(mix(halves[:, 0]) ^ halves[:, 1])


def mix(values: np.ndarray) -> np.ndarray:
    """splitmix64's step (Steele, Lea, Flood 2014) on uint64: the same numbers on every machine and version."""
    z = values + _U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U64(27))) * _U64(0x94D049BB133111EB)
    return z ^ (z >> _U64(31))


def signs(hashes: np.ndarray, count: int = DIMENSIONS) -> np.ndarray:
    """float32 (n, count) of -1 and 1, drawn from the hashes alone. `count` is a multiple of 64."""
    steps = np.arange(1, count // 64 + 1, dtype=_U64) * _U64(0xD1342543DE82EF95)
    words = mix(hashes[:, None] ^ steps).astype("<u8")
    drawn = np.unpackbits(words.view(np.uint8), axis=1).astype(np.float32)
    drawn *= 2
    drawn -= 1
    return drawn


def build_frame(anchors: Anchors, width: int, rows_of: Callable[[np.ndarray], np.ndarray]) -> Frame:
    """rows_of: token numbers (m,) to embedding rows float32 (m, width); asked for a block at a time, numbers rising.

    Memory: 2 * WHITENED_BY * width numbers at most (and never more than 2 * 2^25), and the frame itself.
    """
    sample_size = min(WHITENED_BY, max(_COVARIANCE_NUMBERS // width, 64), len(anchors.numbers))
    limit = np.partition(anchors.hashes, sample_size - 1)[sample_size - 1]
    summed, total = np.zeros((DIMENSIONS, width), np.float32), np.zeros(width, np.float64)
    sign_sum, squares = np.zeros(DIMENSIONS, np.float64), 0.0
    sample: list[np.ndarray] = []
    step = max(256, _BLOCK_NUMBERS // max(width, DIMENSIONS))
    for start in range(0, len(anchors.numbers), step):
        part = slice(start, start + step)
        rows = _unit(rows_of(anchors.numbers[part]))
        drawn = signs(anchors.hashes[part])
        summed += drawn.T @ rows
        total += rows.sum(0)
        sign_sum += drawn.sum(0)
        squares += float(np.vdot(rows, rows))
        sample.append(rows[anchors.hashes[part] <= limit])
    count = len(anchors.numbers)
    mean = (total / count).astype(np.float32)
    summed -= np.outer(sign_sum.astype(np.float32), mean)
    directions, dimension = _whiten(summed, np.concatenate(sample) - mean)
    lean = float(mean @ mean)
    return Frame(directions, count, squares / count - lean, lean, dimension)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of norm 1. Rows that are zero or no numbers become zero."""
    norms = np.sqrt(np.multiply(rows, rows).sum(1, keepdims=True))
    good = np.isfinite(norms) & (norms > 1e-12)
    unit = rows / np.where(good, norms, 1)
    unit[~good[:, 0]] = 0
    return unit.astype(np.float32, copy=False)


def _whiten(summed: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, float]:
    """summed (C + c I)^-1 with C the sample's covariance and c its mean eigenvalue; and C's effective dimension.

    Through whichever of C and the Gram matrix is smaller, so the cost does not grow with the cube of the width.
    """
    count, width = sample.shape
    small = sample.T @ sample if width <= count else sample @ sample.T
    small /= count
    trace = float(np.trace(small))
    if not np.isfinite(trace) or trace <= 0:
        return summed, 0.0
    dimension = trace**2 / float(np.vdot(small, small))
    ridge = trace / width
    small[np.diag_indices_from(small)] += ridge
    if width <= count:
        return solve_definite(small, summed.T).T.astype(np.float32) * np.float32(ridge), dimension
    inner = solve_definite(small, sample @ summed.T)
    return summed - (sample.T @ inner).T / np.float32(count), dimension
