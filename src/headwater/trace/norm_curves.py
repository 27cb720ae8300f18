"""Whose strongest neurons have norms like these: an order to look at models in, where words say nothing.

A neuron's norm, the gain folded in, is the same however the stream is turned, neurons are shuffled or words are
replaced, and hardly moves when a model is rounded or lightly tuned. So the norms of a layer's strongest neurons,
greatest first, are a curve that such a copy keeps. Models trained alike have curves alike, and long tuning moves them:
this is evidence of nothing.
"""

from __future__ import annotations

import numpy as np

from headwater.trace.fingerprint import Fingerprint

LENGTH = 64
"""Of the strongest neurons: those are the same ones in a copy that was pruned a little."""


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Between two models' curves: of the median layer of the one with fewer, to the layer nearest to it. 0 for copies,
    infinite where one has no curves."""
    if not len(one) or not len(other):
        return float("inf")
    fewer, more = (one, other) if len(one) <= len(other) else (other, one)
    length = min(fewer.shape[1], more.shape[1])
    apart = np.abs(fewer[:, None, :length] - more[None, :, :length]).mean(2)
    return float(np.median(apart.min(1)))


def curves(made: Fingerprint) -> np.ndarray:
    """float32 (layers, at most LENGTH): logarithms of norms, falling. (0, 0) for a model without neurons."""
    length = min([LENGTH, *(len(layer.norms) for layer in made.layers if len(layer.norms))])
    rows = [np.log(np.maximum(layer.norms[:length], 1e-30)) for layer in made.layers if len(layer.norms) >= length]
    return np.array(rows, np.float32) if rows else np.zeros((0, 0), np.float32)
