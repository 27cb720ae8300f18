"""What may be done to a model to hide where it comes from, or in the ordinary course of making a new one of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from trace_made import Made, words


def low_rank(model: Made, share: float, rank: int = 16, seed: int = 5) -> Made:
    """A LoRA merged into every MLP matrix, its norm a share of the matrix's."""
    rng = np.random.default_rng(seed)

    def changed(array: np.ndarray) -> np.ndarray:
        delta = (rng.normal(size=(array.shape[0], rank)) @ rng.normal(size=(rank, array.shape[1]))).astype(np.float32)
        return array + delta * (share * np.linalg.norm(array) / np.linalg.norm(delta))

    return replace(model, layers=[y | {n: changed(y[n]) for n in ("gate", "up", "down")} for y in model.layers])


def fewer_neurons(model: Made, share: float) -> Made:
    """The neurons of least weight cut out."""
    def one(layer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        weight = np.linalg.norm(layer["gate"], axis=1) * np.linalg.norm(layer["down"], axis=0)
        kept = np.sort(np.argsort(-weight)[:int(len(weight) * share)])
        return layer | {"gate": layer["gate"][kept], "up": layer["up"][kept], "down": layer["down"][:, kept]}

    return replace(model, layers=[one(layer) for layer in model.layers])


def layers(model: Made, numbers: list[int]) -> Made:
    """Dropped, reordered or doubled."""
    return replace(model, layers=[model.layers[n] for n in numbers])


def other_words(model: Made, keep: float = 0.6, new: int = 500, seed: int = 4) -> Made:
    """A share of the vocabulary kept, shuffled, and new words behind it; 1.0 keeps the order."""
    rng = np.random.default_rng(seed)
    count = len(model.words)
    order = np.arange(count) if keep == 1.0 else rng.permutation(count)[:int(keep * count)]
    rows = rng.normal(size=(new, model.embed.shape[1])).astype(np.float32) * model.embed.std()
    return replace(model, words=[model.words[n] for n in order] + [f"{w}zq" for w in words(new, 9)],
                   embed=np.concatenate([model.embed[order], rows]))


def new_embeddings(model: Made, seed: int = 8) -> Made:
    rows = np.random.default_rng(seed).normal(size=model.embed.shape).astype(np.float32)
    return replace(model, embed=rows * model.embed.std())


def merged(one: Made, two: Made, share: float = 0.5) -> Made:
    """share of `one`, the rest of `two`."""
    mixed = [{n: share * a[n] + (1 - share) * b[n] for n in a} for a, b in zip(one.layers, two.layers, strict=True)]
    return replace(one, embed=share * one.embed + (1 - share) * two.embed, layers=mixed)
