"""Matchings of two lists, and how likely it is that so many elements meet their own number by chance.

If the second list came in an order that says nothing of the first's (every order as likely), any matching that treats
all orders alike is a uniformly random one, whatever the two lists hold. The count of elements matched to their own
number then has the distribution of the fixed points of a random permutation (Montmort 1713): the p value is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial

import numpy as np


def greedy_matching(likeness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int (n,): for each row of a square table the column matched to it, the most alike first, each used once.

    Equal figures are ordered by `rng`, never by place: else rows that are all alike would meet their own number.
    """
    count = len(likeness)
    if likeness.shape != (count, count):
        raise ValueError(f"a table of shape {likeness.shape}")
    order = np.lexsort((rng.random(count * count), -likeness.ravel()))
    matched = np.full(count, -1)
    used = np.zeros(count, bool)
    for place in order:
        row, column = divmod(int(place), count)
        if matched[row] < 0 and not used[column]:
            matched[row], used[column] = column, True
    return matched


def log10_fixed_points(found: int, sizes: Sequence[int]) -> float:
    """log10 of the probability that independent random permutations of these sizes have `found` fixed points or more
    together. 0.0 for none."""
    logs = np.zeros(1)
    for size in sizes:
        one = _log_fixed_points(size)
        wider = np.full((len(logs), len(logs) + size), -np.inf)
        for start, value in enumerate(logs):
            wider[start, start:start + size + 1] = value + one
        logs = np.logaddexp.reduce(wider, axis=0)
    if found <= 0:
        return 0.0
    if found >= len(logs):
        return -np.inf
    return min(0.0, float(np.logaddexp.reduce(logs[found:]) / np.log(10)))


def _log_fixed_points(size: int) -> np.ndarray:
    """float64 (size + 1,): natural logs of the probability of 0, 1 … size fixed points; one missing is impossible."""
    derangements = [1, 0]
    while len(derangements) <= size:
        n = len(derangements)
        derangements.append((n - 1) * (derangements[-1] + derangements[-2]))
    with np.errstate(divide="ignore"):
        return np.log([derangements[size - k] / factorial(size - k) / factorial(k) for k in range(size + 1)])
