"""Find the rotation between two models that have no embeddings in common: for copies whose words were all replaced.

A neuron has numbers that no rotation or permutation changes: the norms of its gate, up and down rows, the angles
between them, and how its layer as a whole lies along them: g' G g with G the mean of the outer products of all the
layer's rows of a role, which turns as the stream does. Neurons are paired by these in some layers; from the pairs one
rotation of the whole stream is worked out (Kabsch), the neurons are matched by it anew, and so on. Whether it is right
is asked of *other* layers, which had no part in finding it: there gate and up must name the same neuron. In models that
began apart the layers the rotation was fitted to agree by nearly half, and the others by chance, so only the others
count. Needs no tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headwater.trace.folding import gain_of
from headwater.trace.judgement import Evidence
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix, Roles
from headwater.trace.said import said

MOST = 4_096
"""Neurons of a layer, the strongest gates: the same ones whatever the basis."""
MAX_WIDTH = 4_096
LAYERS = 8
SEARCHED_WIDTH = 768
MOST_SEARCHED = 32
"""Layers of b that a layer of a is looked for among. Each costs some decompositions of a square of the width."""
_SEARCHED_NEURONS = 1_024
SHAPED = 1_024
"""Rows that say how a layer lies, of models wider than this: products of all would cost as much as the rest."""
_TRIED_OF_FEW, _TRIED_OF_MANY = (3, 8), (2, 4)
"""(layers of a that a rotation is begun from, rotations that are asked of other layers), by how many layers b has."""
_OTHERS, _OF_EACH = 4, 256
_ROUNDS = 4
_FEWEST = 50


@dataclass(frozen=True)
class Turning:
    """held_out: median share of neurons that agree in the layers the rotation was not taken from; fitted: in those it
    was, which says nothing by itself."""

    held_out: float
    fitted: float
    layers: tuple[int, ...]

    def as_evidence(self, line: float) -> Evidence:
        says = said("Under one rotation of the stream %(share)s of the neurons agree in %(n)s layers that it was not "
                    "taken from.", share=f"{self.held_out:.1%}", n=len(self.layers))
        return Evidence("turning", "strong" if self.held_out > line else "none", says,
                        {"held_out": round(self.held_out, 4), "fitted": round(self.fitted, 4),
                         "layers": len(self.layers)})


class _Rows(NamedTuple):
    """Unit rows (n, width) of gate, up and down, and (n, 23) of what neither a rotation nor a larger up with a smaller
    down changes."""

    gate: np.ndarray
    up: np.ndarray
    down: np.ndarray
    marks: np.ndarray


def find_turning(a: tuple[Reader, Roles], b: tuple[Reader, Roles], pairs: Sequence[tuple[int, int]]) -> Turning | None:
    """pairs: layers that would correspond. None for models of another width, without gates, or of too few layers.

    Every second pair is fitted to, the others asked. Memory: three times MOST rows of two layers, and two squares of
    the width.
    """
    width = a[1].width
    pairs = [(x, y) for x, y in pairs if a[1].layers[x].gates and b[1].layers[y].gates][:LAYERS]
    if width != b[1].width or width > MAX_WIDTH or len(pairs) < 4:
        return None
    fitted_to, asked = pairs[::2], pairs[1::2]
    layers = [(_rows(*a, x), _rows(*b, y)) for x, y in fitted_to]
    sums = np.zeros((width, width), np.float32)
    for one, two in layers:
        i, j = _paired(one.marks, two.marks)
        sums += two.gate[j].T @ one.gate[i]
    for _ in range(_ROUNDS):
        turn = _rotation(sums)
        sums, shares = np.zeros_like(sums), []
        for one, two in layers:
            share, more = _refit(one, two, turn)
            shares.append(share)
            sums += more
    turn = _rotation(sums)
    held_out = [_agreement(_rows(*a, x), _rows(*b, y), turn) for x, y in asked]
    return Turning(float(np.median(held_out)), float(np.median(shares)), tuple(x for x, _ in asked))


def search_turning(a: tuple[Reader, Roles], b: tuple[Reader, Roles]) -> Turning | None:
    """The same where nobody knows which layers would correspond: layers were dropped or stand in another order.

    A rotation is fitted to one layer of a and one of b at a time; the surest ones are asked of a's other layers, each
    beside all of b's. None for models of another width, wider than SEARCHED_WIDTH, or of few layers. Memory: 380 MB.
    """
    width, gated = a[1].width, [[n for n, layer in enumerate(roles.layers) if layer.gates] for _, roles in (a, b)]
    if width != b[1].width or width > SEARCHED_WIDTH or min(map(len, gated)) < 3:
        return None
    chosen = [[numbers[n] for n in np.unique(np.linspace(0, len(numbers) - 1, min(most, len(numbers))).astype(int))]
              for numbers, most in zip(gated, (LAYERS, MOST_SEARCHED), strict=True)]
    sides = [{n: _rows(*side, n, _SEARCHED_NEURONS) for n in numbers}
             for side, numbers in zip((a, b), chosen, strict=True)]
    begun, surest = _TRIED_OF_FEW if len(chosen[1]) <= 16 else _TRIED_OF_MANY
    starts = [chosen[0][n] for n in np.unique(np.linspace(0, len(chosen[0]) - 1, begun).astype(int))]
    tried = [(*_fit(sides[0][x], sides[1][y]), x, y) for x in starts for y in chosen[1]]
    tried.sort(key=lambda one: -one[0])
    return max((_asked(sides, *one[1:]) for one in tried[:surest]), key=lambda found: found.held_out)


def _fit(one: _Rows, two: _Rows) -> tuple[float, np.ndarray]:
    """(share of the neurons that agree, which says nothing by itself; sums for a better rotation)."""
    i, j = _paired(one.marks, two.marks)
    sums, share = two.gate[j].T @ one.gate[i], 0.0
    for _ in range(_ROUNDS // 2):
        share, sums = _refit(one, two, _rotation(sums))
    return share, sums


def _asked(sides: Sequence[dict[int, _Rows]], sums: np.ndarray, x: int, y: int) -> Turning:
    for _ in range(_ROUNDS):
        share, sums = _refit(sides[0][x], sides[1][y], _rotation(sums))
    turn = _rotation(sums)
    others = [n for n in sides[0] if n != x]
    others = [others[n] for n in np.unique(np.linspace(0, len(others) - 1, _OTHERS).astype(int))]
    best = [max(_agreement(_Rows(*(part[:_OF_EACH] for part in sides[0][n])), two, turn)
                for m, two in sides[1].items() if m != y) for n in others]
    return Turning(float(np.median(best)), share, tuple(others))


def _rows(reader: Reader, roles: Roles, number: int, most: int = MOST) -> _Rows:
    layer = roles.layers[number]
    gain = gain_of(reader, layer)
    norms = np.sqrt(np.concatenate([reader.squares(matrix, gain) for matrix in layer.gates]))
    chosen = np.sort(np.argsort(-np.nan_to_num(norms, posinf=0), kind="stable")[:most])
    parts = [_read(reader, matrices, chosen, None if which == "downs" else gain)
             for which, matrices in (("gates", layer.gates), ("ups", layer.ups), ("downs", layer.downs))]
    lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    gate, up, down = (part / np.maximum(length, 1e-12) for part, length in zip(parts, lengths, strict=True))
    cosines = [(gate * up).sum(1), (gate * down).sum(1), (up * down).sum(1)]
    logs = [np.log(np.maximum(length[:, 0], 1e-12)) for length in lengths]
    # up and down may both change sign: their product with the gate is known without it.
    marks = [logs[0], logs[1] + logs[2], np.abs(cosines[0]), np.abs(cosines[1]), cosines[2]]
    for role in (gate, up, down):
        marks += _lying(_shape_of(role, norms[chosen]), (gate, up, down))
    return _Rows(gate, up, down, np.stack(marks, 1).astype(np.float32))


def _shape_of(rows: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """(few, width): rows whose outer products' sum is the mean of the layer's of one role, which a pruned layer has
    nearly as the whole one. Of a wide layer the SHAPED strongest neurons' stand for all."""
    if rows.shape[1] <= SHAPED < len(rows):
        square = rows.T @ rows / np.float32(len(rows))
        return np.linalg.cholesky(square + np.float32(1e-6) * np.eye(len(square), dtype=np.float32)).T
    strongest = rows[np.argsort(-norms, kind="stable")[:SHAPED]]
    return strongest / np.float32(max(1, len(strongest)) ** 0.5)


def _lying(shape: np.ndarray, roles: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Six marks of each neuron: x' G x of its gate, up and down, and |x' G y| of two of them."""
    along = [rows @ shape.T for rows in roles]
    alone = [np.log(np.maximum((one * one).sum(1), 1e-12)) for one in along]
    return alone + [np.abs((along[i] * along[j]).sum(1)) for i, j in ((0, 1), (0, 2), (1, 2))]


def _read(reader: Reader, matrices: Sequence[Matrix], numbers: np.ndarray, gain: np.ndarray | None) -> np.ndarray:
    found, first = [], 0
    for matrix in matrices:
        mine = numbers[(numbers >= first) & (numbers < first + matrix.shape[0])] - first
        found.append(reader.rows(matrix, mine))
        first += matrix.shape[0]
    stacked = np.nan_to_num(np.concatenate(found), posinf=0, neginf=0)
    return stacked if gain is None else stacked * gain


def _paired(one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neurons that are each other's nearest by their marks, each mark in units of its own spread."""
    spread = one.std(0) + 1e-9
    one, two = one / spread, two / spread
    table = (one**2).sum(1)[:, None] + (two**2).sum(1) - 2 * one @ two.T
    nearest, back = table.argmin(1), table.argmin(0)
    i = np.flatnonzero(back[nearest] == np.arange(len(one)))
    return i, nearest[i]


def _rotation(sums: np.ndarray) -> np.ndarray:
    """The orthogonal matrix that turns b's rows onto a's best."""
    left, _, right = np.linalg.svd(np.nan_to_num(sums))
    return left @ right


def _named(one: _Rows, two: _Rows, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(b's neuron by gate, its cosine, b's neuron by up, the signed cosine of up with the one named by gate)."""
    by_gate = one.gate @ (two.gate @ turn).T
    by_up = one.up @ (two.up @ turn).T
    places = np.arange(len(one.gate))
    gate = by_gate.argmax(1)
    return gate, by_gate[places, gate], np.abs(by_up).argmax(1), by_up[places, gate]


def _refit(one: _Rows, two: _Rows, turn: np.ndarray) -> tuple[float, np.ndarray]:
    """(share that agrees, sums for the next rotation) from the neurons that agree, or the surest half where few do."""
    gate, cosine, up, signed = _named(one, two, turn)
    agreed = np.flatnonzero(gate == up)
    used = agreed if len(agreed) >= _FEWEST else np.argsort(-cosine)[:len(cosine) // 2]
    turned = np.sign(signed[used])[:, None]
    sums = two.gate[gate[used]].T @ one.gate[used] + (two.up[gate[used]] * turned).T @ one.up[used]
    return _share(one, two, gate[agreed]), sums


def _agreement(one: _Rows, two: _Rows, turn: np.ndarray) -> float:
    gate, _, up, _ = _named(one, two, turn)
    return _share(one, two, gate[gate == up])


def _share(one: _Rows, two: _Rows, agreed: np.ndarray) -> float:
    """Of the layer with fewer neurons; each of b's is counted once."""
    return len(np.unique(agreed)) / max(1, min(len(one.gate), len(two.gate)))
