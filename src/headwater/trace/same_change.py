"""Whether two adapters make the same change: the cosine of their products, without multiplying them out.

The halves of a low-rank pair may be written in many ways (turned, scaled against each other, of another rank); their
product is what the model gets, and it alone is compared. Says nothing of the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.trace.adapters import ByEnd, evenly, stem_of
from headwater.trace.judgement import Evidence
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix
from headwater.trace.said import said
from headwater.weights.header import Tensor

SAME = 0.999
LINE = 0.5
"""Cosine from which two adapters are of one training. Two of one base, trained apart on the same data, reach .12
(docs/design/028-adapters.md)."""
MOST = 256


@dataclass(frozen=True)
class Change:
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


def compare_changes(a: Reader, pairs_a: Sequence[tuple[Tensor, Tensor]], b: Reader,
                    pairs_b: Sequence[tuple[Tensor, Tensor]]) -> Change | None:
    """Pairs (down, up) as roles have them. None where no matrix of one name and shape is changed by both."""
    theirs = ByEnd((stem_of(down.name), (down, up)) for down, up in pairs_b)
    both = [((down, up), other) for down, up in pairs_a if (other := theirs.find(stem_of(down.name))) is not None
            and other[0].shape[1] == down.shape[1] and other[1].shape[0] == up.shape[0]]
    if not both:
        return None
    products, of = np.zeros((2, 2)), max(len(pairs_a), len(pairs_b))
    for n in evenly(len(both), MOST):
        halves = [_halves(reader, *pair) for reader, pair in zip((a, b), both[n], strict=True)]
        products += [[float(np.vdot(up.T @ other_up, down @ other_down.T)) for other_down, other_up in halves]
                     for down, up in halves]
    sizes = np.sqrt(np.maximum(np.diag(products), 1e-60))
    cosine = float(products[0, 1] / (sizes[0] * sizes[1])) * len(both) / of
    return Change(cosine, float(sizes[1] / sizes[0]), len(both), of)


def _halves(reader: Reader, down: Tensor, up: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """float64 (r, in), (out, r)."""
    found = [np.nan_to_num(reader.rows(Matrix(t), np.arange(t.shape[0])).astype(np.float64), posinf=0, neginf=0)
             for t in (down, up)]
    return found[0], found[1]
