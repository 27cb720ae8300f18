"""Fingerprints made of random bits, many in a second: for the index, which looks at nothing else of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headwater.trace.fingerprint import NEURONS, VERSION, Architecture, Fingerprint, LayerPrint, TokenizerPrint
from headwater.trace.frame import DIMENSIONS


def print_made(seed: int, *, layers: int = 6, tokens: str = "") -> Fingerprint:
    rng = np.random.default_rng(seed)

    def bits() -> np.ndarray:
        return rng.integers(0, 256, (NEURONS, DIMENSIONS // 8), np.uint8)

    rows = np.arange(NEURONS, dtype=np.int32)
    made = tuple(LayerPrint(n, 256, rows, rows.astype(np.float32), bits(), bits(), None) for n in range(layers))
    none = np.zeros(0, np.uint64)
    return Fingerprint(
        VERSION, Architecture("gated", 64, layers, 256, 1, 500, True, 10**6, "llama", "names", 0),
        TokenizerPrint(500, tokens, "bytes", none, none.astype(np.int32)),
        np.sort(rng.integers(1, 2**63, 40).astype(np.uint64)), {"anchors": 9.0}, made, (), 10, 5)


def changed(made: Fingerprint, share: float, seed: int, *, order: float = 0.2) -> Fingerprint:
    """A descendant: so many of the bits flipped, so many of the neurons no longer among the strongest, all shuffled."""
    rng = np.random.default_rng(seed)

    def blur(bits: np.ndarray, gone: np.ndarray, shuffled: np.ndarray) -> np.ndarray:
        flips = np.packbits(rng.random((len(bits), DIMENSIONS)) < share, axis=1)
        found = bits ^ flips
        found[gone] = rng.integers(0, 256, (int(gone.sum()), DIMENSIONS // 8), np.uint8)
        return found[shuffled]

    layers = []
    for layer in made.layers:
        gone, shuffled = rng.random(NEURONS) < order, rng.permutation(NEURONS)
        layers.append(replace(layer, gate=blur(layer.gate, gone, shuffled), up=blur(layer.up, gone, shuffled)))
    return replace(made, layers=tuple(layers), tensors=np.sort(rng.integers(1, 2**63, 40).astype(np.uint64)))
