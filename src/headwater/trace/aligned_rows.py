"""Whether whole rows of one number are alike in two layers: the exact test of evidence/aligned.py on full numbers.

The fingerprint keeps the signs of 16 rows; with the files at hand 64 rows are matched by all their numbers, which still
meet under noise many times the weights. The reasoning, and why the p value is exact, is the same: models that began
apart could have any order of neurons. Nothing is found in a shuffled or rotated copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import numpy as np

from headwater.stats.matching import greedy_matching, log10_fixed_points
from headwater.trace.evidence.aligned import LINE
from headwater.trace.judgement import Evidence
from headwater.trace.reader import Reader
from headwater.trace.roles import Layer
from headwater.trace.said import said

ROWS = 64


def rows_met(a: Reader, one: Layer, b: Reader, two: Layer, rng: np.random.Generator) -> tuple[int, int] | None:
    """(rows that meet their own number, rows); None for layers of other shapes, or of several experts."""
    pairs = [(x[0], y[0]) for x, y in ((one.gates, two.gates), (one.ups, two.ups)) if len(x) == len(y) == 1]
    if not pairs or any(x.shape != y.shape or x.shape[0] < 2 for x, y in pairs):
        return None
    count = pairs[0][0].shape[0]
    numbers = np.unique(np.linspace(0, count - 1, min(ROWS, count)).astype(np.int64))
    table = np.zeros((len(numbers), len(numbers)))
    for x, y in pairs:
        first, second = (_unit(reader.rows(matrix, numbers)) for reader, matrix in ((a, x), (b, y)))
        table += first @ second.T
    return int((greedy_matching(table, rng) == np.arange(len(table))).sum()), len(table)


def _unit(rows: np.ndarray) -> np.ndarray:
    plain = np.nan_to_num(rows.astype(np.float64), posinf=0, neginf=0)
    return plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-30)


def as_evidence(met: Sequence[tuple[int, int]]) -> Evidence | None:
    """met: of each pair of layers, as rows_met counts; None of none."""
    if not met:
        return None
    found, sizes = sum(m for m, _ in met), [size for _, size in met]
    # The layers are paired in one of two ways (by agreement or by number): twice the chance.
    log10_p = min(0.0, log10_fixed_points(found, sizes) + log10(2))
    figures = {"met": found, "of": sum(sizes), "layers": len(sizes), "log10_p": round(log10_p, 1)}
    places = {"met": found, "of": sum(sizes), "chance": len(sizes)}
    if log10_p <= LINE:
        return Evidence("aligned rows", "proof", said(
            "%(met)s of %(of)s whole rows meet the row of their own number; %(chance)s would by chance (p = "
            "10^%(power)s).", **places, power=f"{log10_p:.0f}"), figures)
    return Evidence("aligned rows", "none", said(
        "%(met)s of %(of)s whole rows meet the row of their own number; %(chance)s would by chance.",
        **places), figures)
