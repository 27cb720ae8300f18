"""Tensors that both models have as they are. Small ones and constants are not counted: models share those by chance."""

from __future__ import annotations

import numpy as np

from headwater.trace.compared import Compared
from headwater.trace.judgement import Evidence
from headwater.trace.said import said

ENOUGH = 3
"""Fewer shared tensors may be tables of sines, which many models have."""


def look(pair: Compared) -> Evidence:
    shared = len(pair.shared_hashes)
    telling = [int((print_.tensors & np.uint64(1)).sum()) for print_ in (pair.a, pair.b)]
    same = len(pair.a.tensors) > 0 and np.array_equal(pair.a.tensors, pair.b.tensors)
    all_same = bool(same and pair.a.architecture.parameters == pair.b.architecture.parameters and telling[0])
    figures = {"shared": shared, "of_a": telling[0], "of_b": telling[1], "all": all_same}
    if all_same:
        return Evidence("hashes", "proof", said(
            "All %(n)s tensors are the same, piece for piece.", n=len(pair.a.tensors)), figures)
    if shared >= ENOUGH:
        return Evidence("hashes", "proof", said(
            "%(n)s tensors are the same in both, bit for bit where they were read.", n=shared), figures)
    if shared:
        return Evidence("hashes", "weak", said("%(n)s of %(of)s tensors are the same in both.", n=shared,
                                               of=min(telling)), figures)
    return Evidence("hashes", "none", said("No tensor was left as it is."), figures)


EVIDENCE = look
