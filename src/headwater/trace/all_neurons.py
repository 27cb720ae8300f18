"""All neurons of two layers matched by their profiles, and what each reads and writes: for two models at hand.

Where a fingerprint keeps the signs of 96 neurons, this takes every one (up to MOST) in full numbers, so that pruned,
low-rank and noisy copies stand out further. Costs the product of the two layers' neurons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headwater.trace.folding import centred, folding_of, is_centred
from headwater.trace.frame import DIMENSIONS, Frame, build_frame, find_anchors
from headwater.trace.reader import Reader
from headwater.trace.roles import Layer, Matrix, Roles

MOST = 16_384
ASKED = 4_096
"""Neurons of the layer with fewer that are looked for among all of the other's."""
ANCHORS, WHITENED_BY = 20_000, 2_048
"""More words than a fingerprint takes (trace/frame.py): with both files at hand they cost little, and behind noise of
twice the weights and a rotation .15 to .23 of all neurons of SmolLM2 agree where 1,500 words leave .05 to .07."""
_BLOCK = 1 << 22
_WORDS = 2_048
_TOLD = 6


@dataclass(frozen=True)
class NeuronPair:
    """Numbers of one neuron in a and in b; cosines of their profiles (up below 0: its sign was turned, and that of what
    it writes, which changes nothing); the words that excite each one most, and that it
    makes likelier, best first. A word begins with a space where its token does."""

    a: int
    b: int
    gate: float
    up: float
    reads_a: tuple[str, ...]
    reads_b: tuple[str, ...]
    writes_a: tuple[str, ...]
    writes_b: tuple[str, ...]

    def flipped(self) -> NeuronPair:
        return NeuronPair(self.b, self.a, self.gate, self.up, self.reads_b, self.reads_a, self.writes_b, self.writes_a)


class Side:
    """One model: its layers as (neurons, K) profiles, its words as directions in the stream."""

    def __init__(self, reader: Reader, roles: Roles):
        self.reader, self.roles = reader, roles
        self.centred = bool(roles.layers) and is_centred(reader, roles.layers[0])
        self.frame, self.words, self._rows = self._make_frame()

    def _make_frame(self) -> tuple[Frame | None, list[str], np.ndarray]:
        tokens, table = self.reader.tokens, self.roles.embedding
        if tokens is None or table is None:
            return None, [], np.zeros((0, 0), np.float32)
        anchors = find_anchors(tokens, ANCHORS)
        inside = anchors.numbers < table.shape[0]
        anchors = type(anchors)(anchors.numbers[inside], anchors.hashes[inside], anchors.found)
        if len(anchors.numbers) < 2:
            return None, [], np.zeros((0, 0), np.float32)
        frame = build_frame(anchors, table.shape[1], lambda numbers: self._written(self.reader.rows(table, numbers)),
                            WHITENED_BY)
        shown = np.sort(anchors.numbers[np.argsort(anchors.hashes)[:_WORDS]])
        rows = self.reader.rows(table, shown)
        rows = np.nan_to_num(rows - rows.mean(0))
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return frame, [tokens.canonical(int(n)).decode("utf-8", "replace") for n in shown], rows

    def _written(self, rows: np.ndarray) -> np.ndarray:
        return centred(rows) if self.centred else rows

    def chosen(self, layer: Layer) -> np.ndarray:
        """Numbers of the layer's neurons: all, or MOST of them evenly spread."""
        step = max(1, -(-layer.neurons // MOST))
        return np.arange(0, layer.neurons, step)

    def profiles(self, layer: Layer, which: str) -> np.ndarray:
        """float32 (n, K) unit rows of "gates", "ups" or "downs"."""
        if self.frame is None:
            return np.zeros((0, DIMENSIONS), np.float32)
        directions = self.frame.directions.T
        seen = self._written if which == "downs" else folding_of(self.reader, layer).fold
        found = [seen(rows) @ directions for rows in self._blocks(getattr(layer, which), self.chosen(layer))]
        stacked = np.nan_to_num(np.concatenate(found), posinf=0, neginf=0)
        return stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-30)

    def _blocks(self, matrices: Sequence[Matrix], numbers: np.ndarray) -> Iterator[np.ndarray]:
        first = 0
        for matrix in matrices:
            mine = numbers[(numbers >= first) & (numbers < first + matrix.shape[0])] - first
            first += matrix.shape[0]
            # Columns can only be had by reading the matrix: all at once then.
            step = len(mine) if matrix.columns else max(1, _BLOCK // matrix.shape[1])
            for start in range(0, len(mine), max(step, 1)):
                yield self.reader.rows(matrix, mine[start:start + step])

    def told(self, layer: Layer, which: str, neuron: int, sign: float = 1.0) -> tuple[str, ...]:
        """The words that a neuron reads ("gates", "ups") or writes ("downs") most; of the least with a sign of -1."""
        if not self.words:
            return ()
        row = next(self._blocks(getattr(layer, which), np.array([neuron])))[0]
        seen = self._written if which == "downs" else folding_of(self.reader, layer).fold
        scores = np.nan_to_num(self._rows @ seen(row[None])[0])
        return tuple(self.words[n] for n in np.argsort(-scores * sign)[:_TOLD])


@dataclass(frozen=True)
class Matched:
    """share: neurons of the layer with fewer that both matchings name, counted once. control: the same with b's
    neurons' second profiles put out of order, which is chance. of: the neurons compared. pairs: (a, b, gate, up)."""

    share: float
    control: float
    of: int
    pairs: tuple[tuple[int, int, float, float], ...]


def match_layers(a: Side, one: Layer, b: Side, two: Layer) -> Matched | None:
    """None where the layers have no two profiles in common."""
    if a.frame is None or b.frame is None or bool(one.gates) != bool(two.gates):
        return None
    kinds = ("gates", "ups") if one.gates else ("ups", "downs")
    first, second = [[side.profiles(layer, which) for which in kinds] for side, layer in ((a, one), (b, two))]
    numbers = a.chosen(one), b.chosen(two)
    turned = len(first[0]) > len(second[0])
    few, many = (second, first) if turned else (first, second)
    asked = np.unique(np.linspace(0, len(few[0]) - 1, min(ASKED, len(few[0]))).astype(np.int64))
    found = _match([profiles[asked] for profiles in few], many, bool(one.gates))
    rows, columns = (found.columns, asked[found.rows]) if turned else (asked[found.rows], found.columns)
    pairs = sorted(((int(numbers[0][i]), int(numbers[1][j]), float(g), float(u))
                    for i, j, g, u in zip(rows, columns, found.gate, found.up, strict=True)),
                   key=lambda pair: -abs(pair[2] * pair[3]))
    return Matched(len(pairs) / len(asked), found.control / len(asked), len(asked), tuple(pairs))


class _Found(NamedTuple):
    """rows, columns: neurons that both matchings join. control: how many with the second profiles out of order."""

    rows: np.ndarray
    columns: np.ndarray
    gate: np.ndarray
    up: np.ndarray
    control: int


def _match(first: Sequence[np.ndarray], second: Sequence[np.ndarray], gated: bool) -> _Found:
    """Each neuron of `first` to the one of `second` most like it, twice; kept where both say the same."""
    named = [np.zeros(len(first[0]), np.int64) for _ in range(2)]
    score = [np.zeros(len(first[0]), np.float32) for _ in range(2)]
    step = max(1, _BLOCK // max(len(second[0]), 1))
    for start in range(0, len(first[0]), step):
        for which in range(2):
            table = first[which][start:start + step] @ second[which].T
            # A neuron may change sign where the next matrix undoes it, but not in the gate.
            best = (table if gated and which == 0 else np.abs(table)).argmax(1)
            named[which][start:start + step] = best
            score[which][start:start + step] = table[np.arange(len(table)), best]
    rows = np.flatnonzero(named[0] == named[1])
    _, once = np.unique(named[0][rows], return_index=True)
    rows = rows[np.sort(once)]
    moved = np.random.default_rng(0).permutation(len(second[0]))
    control = len(np.unique(named[0][moved[named[1]] == named[0]]))
    return _Found(rows, named[0][rows], score[0][rows], score[1][rows], control)
