"""Whole matrices an adapter carries (`modules_to_save`) beside those of a model: whether rows of one number are alike.

Embeddings and heads as a rule: they were the base's and were trained since. Rows that stand for one word are held
against each other; of a model that had no part in it they meet by chance. Judges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from headwater.stats.matching import greedy_matching, log10_fixed_points
from headwater.trace.evidence.aligned import LINE
from headwater.trace.judgement import Evidence
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix
from headwater.trace.said import said
from headwater.weights.header import Header, Tensor

KEPT = "kept whole"
MOST, ROWS = 8, 64


def kept_whole(adapter: Reader, kept: Sequence[Tensor], base: Reader) -> Evidence | None:
    """None where the adapter carries no matrix that the model has by name and width."""
    rng, met, sizes = np.random.default_rng(0), 0, []
    for tensor in kept[:MOST]:
        same = _of_base(tensor, base.header)
        if same is None:
            continue
        numbers = np.unique(np.linspace(0, min(tensor.shape[0], same.shape[0]) - 1, ROWS).astype(np.int64))
        mine, theirs = (_unit(reader.rows(Matrix(one), numbers)) for reader, one in ((adapter, tensor), (base, same)))
        met += int((greedy_matching(mine @ theirs.T, rng) == np.arange(len(numbers))).sum())
        sizes.append(len(numbers))
    if not sizes:
        return None
    log10_p = log10_fixed_points(met, sizes)
    figures = {"met": met, "of": sum(sizes), "matrices": len(sizes), "log10_p": round(min(log10_p, 0.0), 1)}
    return Evidence(KEPT, "strong" if log10_p <= LINE else "none", said(
        "Of %(matrices)s matrices that the adapter carries whole %(met)s of %(of)s rows are most like the model's row "
        "of their own number; %(chance)s would be by chance.", met=met, of=sum(sizes), matrices=len(sizes),
        chance=len(sizes)), figures)


def _of_base(tensor: Tensor, base: Header) -> Tensor | None:
    """The model's tensor that the name ends in; None where the widths differ or there is none."""
    name = "." + re.sub(r"\.(modules_to_save|original_module|default)(?=\.)", "", tensor.name)
    found = [t for t in base.tensors if name.endswith("." + t.name) and len(t.shape) == 2
             and t.shape[1] == tensor.shape[1] and t.shape[0] > 1]
    return max(found, key=lambda t: len(t.name), default=None)


def _unit(rows: np.ndarray) -> np.ndarray:
    plain = np.nan_to_num(rows.astype(np.float64), posinf=0, neginf=0)
    plain -= plain.mean(0)
    return plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-30)
