"""Counts and what may be said of them: exact intervals for a share, exact tests, and tests made many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, lgamma, log, log1p


def share_interval(found: int, tried: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's exact interval for a share (1934). (0, 1) if nothing was tried."""
    if not 0 <= found <= tried:
        raise ValueError(f"{found} of {tried}")
    tail = (1 - confidence) / 2
    low = 0.0 if found == 0 else _solve(lambda p: binomial_tail(found, tried, p) - tail)
    high = 1.0 if found == tried else _solve(lambda p: tail - (1 - binomial_tail(found + 1, tried, p)))
    return low, high


def at_most(found: int, tried: int, confidence: float = 0.95) -> float:
    """The one-sided upper bound of a share; of 0 in n it is near 3 / n (the rule of three)."""
    if found >= tried:
        return 1.0
    return _solve(lambda p: (1 - confidence) - (1 - binomial_tail(found + 1, tried, p)))


def binomial_tail(least: int, tried: int, chance: float) -> float:
    """The probability of `least` or more of `tried`, each with `chance`."""
    if least <= 0:
        return 1.0
    if least > tried or chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    lower = least > tried * chance  # the shorter sum, and no difference of two numbers near 1
    counts = range(least, tried + 1) if lower else range(least)
    whole = sum(exp(_log_choose(tried, k) + k * log(chance) + (tried - k) * log1p(-chance)) for k in counts)
    return min(1.0, whole if lower else max(0.0, 1 - whole))


def sign_test(more: int, fewer: int) -> float:
    """One-sided exact p of `more` against `fewer` where both were as likely (McNemar's test, exact); 1.0 of none."""
    return binomial_tail(more, more + fewer, 0.5)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (1979), in the order given: each one's smallest level at which it is refused."""
    order = sorted(range(len(values)), key=lambda n: values[n])
    adjusted, worst = [0.0] * len(values), 0.0
    for place, n in enumerate(order):
        worst = max(worst, min(1.0, values[n] * (len(values) - place)))
        adjusted[n] = worst
    return adjusted


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _solve(rising: Callable[[float], float]) -> float:
    """Where a function that rises from 0 to 1 crosses zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
