"""Whether neurons of one number are alike in both models: an exact test, for models nobody has shuffled.

Training treats all orders of a layer's neurons alike, so in models that began apart every order of one against the
other is as likely. 16 neighbouring rows of a layer are matched by the signs of their gate and up rows; how many meet
their own number has a known distribution. Noise twice as large as the weights leaves it standing; a shuffled or
rotated copy passes as unrelated.
"""

from __future__ import annotations

from math import log10

import numpy as np

from headwater.stats.matching import greedy_matching, log10_fixed_points
from headwater.trace.compared import Compared
from headwater.trace.fingerprint import Fingerprint, LayerPrint
from headwater.trace.hashes import ROW_SIGNS
from headwater.trace.judgement import Evidence
from headwater.trace.said import said

LINE = -9.0
"""log10 p below which it is a proof: one in a thousand million, for a hub that compares a million pairs."""
_ROLES = ("gate", "up")


def look(pair: Compared) -> Evidence:
    if not _comparable(pair.a, pair.b):
        return Evidence("aligned", "none", said("Their layers have other shapes, so rows of one "
                                                  "number do not correspond."))
    rng, found, sizes, alike, turned = np.random.default_rng(0), 0, [], [], np.zeros(2, int)
    for one, two in pair.likely_pairs:
        signs = _signs(one, two, min(ROW_SIGNS, pair.a.architecture.width))
        if signs is None:
            continue
        table = signs[0] @ signs[1].T / signs[0].shape[1]
        found += int((greedy_matching(table, rng) == np.arange(len(table))).sum())
        sizes.append(len(table))
        alike.append(float(np.diag(table).mean()))
        turned += [int(((signs[0] > 0) & (signs[1] < 0)).sum()), int(((signs[0] < 0) & (signs[1] > 0)).sum())]
    if not sizes:
        return Evidence("aligned", "none", said("No rows were kept that could be compared."))
    # The layers are paired in one of two ways (by agreement or by number): twice the chance.
    log10_p = min(0.0, log10_fixed_points(found, sizes) + log10(2))
    figures = {"met": found, "of": sum(sizes), "layers": len(sizes), "log10_p": round(log10_p, 1),
               "alike": round(float(np.mean(alike)), 4), "lost": int(turned[0]), "gained": int(turned[1])}
    places = {"met": found, "of": sum(sizes), "chance": len(sizes)}
    if log10_p <= LINE:
        return Evidence("aligned", "proof", said(
            "%(met)s of %(of)s rows meet the row of their own number; %(chance)s would by chance (p = 10^%(power)s).",
            **places, power=f"{log10_p:.0f}"), figures)
    return Evidence("aligned", "none", said(
        "%(met)s of %(of)s rows meet the row of their own number; %(chance)s would by chance.", **places), figures)


def _comparable(a: Fingerprint, b: Fingerprint) -> bool:
    one, two = a.architecture, b.architecture
    return one.form == two.form and one.width == two.width and one.experts == two.experts \
        and one.neurons == two.neurons > 0


def _signs(one: LayerPrint, two: LayerPrint, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """float (rows, gate's and up's signs): -1 and 1; None where the layers kept no rows, or kept other ones."""
    roles = [role for role in _ROLES if role in one.raw and role in two.raw and len(one.raw[role]) > 1
             and one.raw[role].shape == two.raw[role].shape]
    if not roles or one.neurons != two.neurons:
        return None
    first, second = (np.concatenate([np.unpackbits(layer.raw[role], axis=1, count=width) for role in roles], axis=1)
                     .astype(np.float64) * 2 - 1 for layer in (one, two))
    return first, second


EVIDENCE = look
