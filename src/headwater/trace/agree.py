"""How far two fingerprints agree: layer against layer, and the whole by its median layer.

In every pair of layers each neuron of one is matched to the other's twice, by two profiles that training does not tie
to each other (gate and up). Where both matchings name the same neuron they agree. In unrelated layers that happens to
about one neuron; in a layer and its descendant to most. A neuron of the other model is counted once. Gives figures;
calls nothing related.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.trace.fingerprint import Fingerprint, LayerPrint, unpack


@dataclass(frozen=True)
class Agreement:
    """table: float32 (layers of a, layers of b), the count of b's neurons
    named by both matchings, as a share of a's.

    median: of each layer's best share, over the layers of the model that has fewer. matches: for each layer of that
    model, the number of the other's layer that suits it best. turned: b has fewer layers, so `matches` and `best` are
    from b to a. None of it is known (all empty, median None) where the models have no profiles to compare.
    """

    table: np.ndarray
    median: float | None
    best: np.ndarray
    matches: np.ndarray
    turned: bool
    layers_a: tuple[int, ...] = ()
    layers_b: tuple[int, ...] = ()


def agree(a: Fingerprint, b: Fingerprint) -> Agreement:
    """All pairs of layers. 40 against 40 layers take about 6 billion multiplications."""
    pair = _pair(a, b)
    first, second = _profiled(a, pair), _profiled(b, pair)
    if not first or not second or pair is None:
        empty = np.zeros(0, np.float32)
        return Agreement(np.zeros((0, 0), np.float32), None, empty, empty.astype(np.int32), False)
    table = agreement_table(first, second, pair)
    turned = len(second) < len(first)
    seen = table.T if turned else table
    best, matches = seen.max(1), seen.argmax(1)
    numbers_a, numbers_b = tuple(y.number for y in first), tuple(y.number for y in second)
    other = np.array(numbers_a if turned else numbers_b, np.int32)
    return Agreement(table, float(np.median(best)), best, other[matches], turned, numbers_a, numbers_b)


def _pair(a: Fingerprint, b: Fingerprint) -> tuple[str, str] | None:
    """The two profiles both models have."""
    kinds = {layer.pair for layer in (*a.layers, *b.layers) if layer.up is not None}
    return kinds.pop() if len(kinds) == 1 else None


def _profiled(print_: Fingerprint, pair: tuple[str, str] | None) -> list[LayerPrint]:
    if pair is None:
        return []
    return [y for y in print_.layers if all(getattr(y, which) is not None for which in pair) and len(y.rows)]


def agreement_table(first: list[LayerPrint], second: list[LayerPrint], pair: tuple[str, str]) -> np.ndarray:
    """float32 (layers, layers)."""
    sides = [[[unpack(getattr(layer, which)) for which in pair] for layer in layers] for layers in (first, second)]
    stacked = [np.concatenate([one[k] for one in sides[1]]) for k in range(2)]
    bounds = np.cumsum([0, *(len(one[0]) for one in sides[1])])
    table = np.zeros((len(first), len(second)), np.float32)
    for row, (one, two) in enumerate(sides[0]):
        # A neuron may change sign where the next matrix undoes it, but not in the gate.
        by_first = one @ stacked[0].T if pair[0] == "gate" else np.abs(one @ stacked[0].T)
        by_second = np.abs(two @ stacked[1].T)
        for column in range(len(second)):
            part = slice(bounds[column], bounds[column + 1])
            named = by_first[:, part].argmax(1)
            # Each neuron is counted once: where many are alike, every matching would name the same one.
            table[row, column] = len(np.unique(named[named == by_second[:, part].argmax(1)])) / len(one)
    return table
