"""Norms of the neurons the two have in common. They do not change under rotation or permutation, and do in training.

Says whether kin are the same weights or trained apart since; two unrelated models' neurons are never compared.
"""

from __future__ import annotations

import numpy as np

from headwater.trace.compared import Compared
from headwater.trace.fingerprint import LayerPrint, unpack
from headwater.trace.judgement import Evidence
from headwater.trace.said import said

FEWEST = 32


def look(pair: Compared) -> Evidence:
    if pair.agreement.median is None or pair.agreement.median < 0.25:
        return Evidence("norms", "none", said("Too few neurons correspond."))
    found = [_ratios(one, two) for one, two in pair.likely_pairs] or [(np.zeros(0), np.zeros(0))]
    ratios, cosines = (np.concatenate(part) for part in zip(*found, strict=True))
    if len(ratios) < FEWEST:
        return Evidence("norms", "none", said("Too few neurons correspond."))
    logs = np.log(ratios)
    shift, spread = float(np.median(logs)), float(np.median(np.abs(logs - np.median(logs))))
    says = said("The norms of %(n)s corresponding neurons differ by %(share)s in the median.", n=len(ratios),
                share=f"{spread:.2%}")
    return Evidence("norms", "context", says, {"spread": round(spread, 6), "b_over_a": round(float(np.exp(shift)), 4),
                                               "neurons": len(ratios), "profile": round(float(cosines.mean()), 5)})


def _ratios(one: LayerPrint, two: LayerPrint) -> tuple[np.ndarray, np.ndarray]:
    """b's norm over a's, and the product of their profiles' signs, of neurons that both profiles match."""
    if one.pair != two.pair or one.up is None or two.up is None:
        return np.zeros(0), np.zeros(0)
    tables = [unpack(getattr(one, which)) @ unpack(getattr(two, which)).T for which in one.pair]
    named = tables[0].argmax(1) if one.pair[0] == "gate" else np.abs(tables[0]).argmax(1)
    agreed = named == np.abs(tables[1]).argmax(1)
    mine, theirs = one.norms[agreed], two.norms[named[agreed]]
    good = (mine > 0) & (theirs > 0) & np.isfinite(mine) & np.isfinite(theirs)
    signs = np.abs(tables[0])[np.flatnonzero(agreed), named[agreed]]
    return theirs[good].astype(np.float64) / mine[good], signs[good].astype(np.float64)


EVIDENCE = look
