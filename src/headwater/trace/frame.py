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
RATES = (32, 16, 8, 4, 2, 1)
"""One word in so many is kept, by its hash: the first of these that leaves FEWEST. Of two vocabularies thinned alike
the larger one keeps all that both have; powers of two, so that the lesser rate keeps what the greater one does."""
FEWEST = 1_500
SAMPLE = 256
"""Words of lowest hash, whatever the rate: what two vocabularies are compared by."""
WHITENED_BY = 512
"""Anchors that the covariance is taken from, the ones of lowest hash."""
_COVARIANCE_NUMBERS = 1 << 25
_BLOCK_NUMBERS = 1 << 20
_LONGEST = 10
_U64 = np.uint64


@dataclass(frozen=True)
class Anchors:
    """numbers: token numbers (n,), rising. hashes: uint64 (n,) of their canonical strings. found: words before
    thinning. lowest: (token numbers, hashes) of the SAMPLE lowest hashes of all words, rising by hash."""

    numbers: np.ndarray
    hashes: np.ndarray
    found: int
    lowest: tuple[np.ndarray, np.ndarray] = (np.zeros(0, np.int64), np.zeros(0, np.uint64))

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


def find_anchors(tokens: Tokens, fewest: int = FEWEST) -> Anchors:
    """Words of the vocabulary, thinned to `fewest` or some more. Of two tokens with one canonical string the lower
    number is kept."""
    numbers, hashes = _hashed_words(tokens)
    kept = np.arange(len(hashes))
    for rate in RATES:
        kept = np.flatnonzero(hashes & _U64(rate - 1) == 0)
        if len(kept) >= fewest:
            break
    kept = kept[_first_of_each(hashes[kept])]
    low = np.argsort(hashes, kind="stable")[:2 * SAMPLE] if len(hashes) <= 2 * SAMPLE else \
        np.sort(np.argpartition(hashes, 2 * SAMPLE)[:2 * SAMPLE])
    least, first = np.unique(hashes[low], return_index=True)
    return Anchors(numbers[kept], hashes[kept], len(numbers), (numbers[low[first]][:SAMPLE], least[:SAMPLE]))


def _first_of_each(hashes: np.ndarray) -> np.ndarray:
    _, first = np.unique(hashes, return_index=True)
    first.sort()
    return first


def _mark_lengths(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """(bytes of the space mark each token begins with, whether it begins a word)."""
    if tokens.style == "pieces":
        inside = tokens.beginning_with(b"##")
        return np.where(inside, 2, 0), ~inside
    mark = {"bytes": "Ġ".encode(), "space": "▁".encode(), "plain": b" "}[tokens.style]
    spaced = tokens.beginning_with(mark)
    return np.where(spaced, len(mark), 0), spaced


def _hashed_words(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Token numbers, and uint64 hashes: of tokens of 2 to 10 ASCII letters after an optional space mark. What is
    hashed is 16 bytes: the letters, zeros, and last whether there was the mark."""
    marks, spaced = _mark_lengths(tokens)
    lengths = tokens.stops - tokens.starts - marks
    numbers = np.flatnonzero((lengths >= 2) & (lengths <= _LONGEST))
    if not len(numbers):
        return numbers, np.zeros(0, np.uint64)
    text = tokens.bytes_at((tokens.starts + marks)[numbers], 16)
    outside = np.arange(16) >= lengths[numbers, None]
    text[outside] = 0
    letters = ((text | 32) - np.uint8(97) < 26) | outside
    words = letters.all(1)
    numbers, text = numbers[words], text[words]
    text[:, 15] = spaced[numbers]
    halves = text.view("<u8")
    return numbers, mix(mix(halves[:, 0]) ^ halves[:, 1])


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


def build_frame(anchors: Anchors, width: int, rows_of: Callable[[np.ndarray], np.ndarray],
                whitened_by: int = WHITENED_BY) -> Frame:
    """rows_of: token numbers (m,) to embedding rows float32 (m, width); asked for a block at a time, numbers rising.

    Memory: 2 * whitened_by * width numbers at most (and never more than 2 * 2^25), and the frame itself.
    """
    sample_size = min(whitened_by, max(_COVARIANCE_NUMBERS // width, 64), len(anchors.numbers))
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
