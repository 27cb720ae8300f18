"""Whether two adapters make the same change: the cosine of their products, without multiplying them out.

The halves of a low-rank pair may be written in many ways (turned, scaled against each other, of another rank); their
product is what the model gets, and it alone is compared. Says nothing of the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.trace.adapters import ByEnd, evenly, stem_of
from headwater.trace.change_rows import halves_of, rows_of
from headwater.trace.changes import Change
from headwater.trace.judgement import Evidence
from headwater.trace.reader import Reader
from headwater.trace.said import said

SAME = 0.999
LINE = 0.5
"""Cosine from which two adapters are of one training. Two of one base, trained apart on the same data, reach .12
(docs/design/028-adapters.md)."""
MOST, ROWS = 256, 64


@dataclass(frozen=True)
class Compared:
    """cosine: of the changes to the matrices both change, times their share of all. scale: b's size over a's. both: how
    many these are, of the greater count."""

    cosine: float
    scale: float
    both: int
    of: int

    def as_evidence(self) -> Evidence:
        figures = {"cosine": round(self.cosine, 5), "b_over_a": round(self.scale, 4), "both": self.both, "of": self.of}
        return Evidence("same change", "strong" if self.cosine >= LINE else "none", said(
            "The changes the two make to %(both)s of %(of)s matrices have a cosine of %(cosine)s; B's is %(scale)s "
            "times A's size.", both=self.both, of=self.of, cosine=f"{self.cosine:.3f}", scale=f"{self.scale:.3g}"),
            figures)


def compare_changes(a: Reader, of_a: Sequence[Change], b: Reader, of_b: Sequence[Change]) -> Compared | None:
    """None where no matrix of one name and shape is changed by both. DoRA's lengths, which say nothing without a base,
    are left out."""
    theirs = ByEnd((stem_of(change.down.name), change) for change in of_b)
    both = [(change, other) for change in of_a if (other := theirs.find(stem_of(change.down.name))) is not None
            and other.shape == change.shape]
    if not both:
        return None
    products, of = np.zeros((2, 2)), max(len(of_a), len(of_b))
    for n in evenly(len(both), MOST):
        products += _products(a, b, *both[n])
    sizes = np.sqrt(np.maximum(np.diag(products), 1e-60))
    cosine = float(products[0, 1] / (sizes[0] * sizes[1])) * len(both) / of
    return Compared(cosine, float(sizes[1] / sizes[0]), len(both), of)


def _products(a: Reader, b: Reader, one: Change, two: Change) -> np.ndarray:
    """float64 (2, 2): the products of the changes with each other and themselves; of changes that are no plain
    product of two halves, of ROWS of their rows."""
    if one.kind == two.kind == "lora":
        halves = [halves_of(reader, change, np.arange(change.shape[0])) for reader, change in ((a, one), (b, two))]
        wide = [(up.astype(np.float64), down.astype(np.float64)) for up, down in halves]
        return np.array([[float(np.vdot(up.T @ other_up, down @ other_down.T)) for other_up, other_down in wide]
                         for up, down in wide])
    numbers = evenly(one.shape[0], ROWS)
    rows = [rows_of(reader, change, numbers).astype(np.float64) for reader, change in ((a, one), (b, two))]
    return np.array([[float(np.vdot(x, y)) for y in rows] for x in rows])
