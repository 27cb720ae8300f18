"""Agreement of the strongest neurons, layer against layer (trace/agree.py). The ground of the verdict."""

from __future__ import annotations

import numpy as np

from headwater.trace.compared import Compared
from headwater.trace.judgement import Evidence
from headwater.trace.said import said

CARRIES = 0.5
"""A layer that agrees this far is the other's layer: unrelated ones reach 0.08, those of one encoder 0.35."""


def look(pair: Compared) -> Evidence:
    found = pair.agreement
    if found.median is None:
        return Evidence("neurons", "none", _why_not(pair))
    inner = pair.inner_pairs
    carrying = [p for p in inner if p.agreement >= CARRIES]
    figures = {"median": round(found.median, 4), "best": round(float(found.best.max()), 4),
               "layers": len(pair.pairs), "inner": len(inner), "carrying": len(carrying),
               "inner_best": round(max((p.agreement for p in inner), default=0.0), 4),
               "least": round(float(np.min(found.best)), 4)}
    says = said("In the median layer %(share)s of the strongest neurons agree; in %(carrying)s of %(inner)s inner "
                "layers half or more do.", share=f"{found.median:.0%}", carrying=len(carrying), inner=len(inner))
    strength = "strong" if found.median >= CARRIES else "moderate" if found.median >= 0.1 or carrying else "none"
    return Evidence("neurons", strength, says, figures)


def _why_not(pair: Compared) -> str:
    for name, print_ in (("A", pair.a), ("B", pair.b)):
        if not print_.layers:
            return said("%(model)s has no layers that could be read.", model=name)
        if not print_.frame:
            return said("%(model)s has no token frame: no token strings, or no embeddings.", model=name)
    return said("One has gates and the other has none, so their neurons cannot be matched.")


EVIDENCE = look
