"""Telling kin beside other methods written anew: seconds a pair, and what each finds on one and the same population.

The shares are those `make calibrate` measured (calibrate/figures.json); docs/calibration.md has them with intervals.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import ground
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def rows() -> Iterator[ground.Row]:
    yield _seconds()
    figures = json.loads((ROOT / "calibrate" / "figures.json").read_text("utf-8"))
    total = sum(one["n"] for one in figures["operations"])
    strangers = sum(figures["called kin"]["verdicts"].values())
    for state, what in (("plain", "as they are"), ("disguised", "disguised")):
        ours = _share(sum(one[state]["found"] for one in figures["operations"]), total)
        for one in figures["baselines"][1:]:
            yield ground.Row(f"share of descendants {what} found, no stranger among them", one["method"], (ours,),
                             (_share(one[state]["found"], total),), "> 1", unit="",
                             note=f"{total} tiny descendants; of strangers trace saw {strangers:,} pairs, the other "
                                  f"{one['pairs']}")
    yield from _of_smollm2(figures["real"])


def _share(found: int, tried: int) -> np.float64:
    """A float of numpy, whose quotient by zero is infinite and no error."""
    return np.float64(found / tried)


def _of_smollm2(real: list[dict]) -> Iterator[ground.Row]:
    """The same of SmolLM2's disguises, each method with a line above its own strangers."""
    kin, strangers = ([one for one in real if one["kin"] is side and "AWM" in one] for side in (True, False))

    def found(method: str) -> np.float64:
        line = max(one[method] for one in strangers)
        return _share(sum(one["found"] if method == "trace" else one[method] > line for one in kin), len(kin))

    note = f"{len(kin)} disguises; strangers: Gemma, Qwen, random numbers of the same deviations"
    for method in ("AWM", "std fingerprint", "spectra", "weightscope"):
        yield ground.Row("share of SmolLM2's disguises found, no stranger among them", method, (found("trace"),),
                         (found(method),), "> 1", unit="", note=note)


def _seconds() -> ground.Row:
    from calibrate.baselines import awm
    from calibrate.disguise import permuted, print_of
    from calibrate.real import smollm2
    from headwater.trace.judge import judge
    from headwater.trace.null import NullLibrary

    base, null = smollm2(), NullLibrary.load()
    other = permuted(base)
    prints = print_of(base), print_of(other)
    ours, theirs = ground.in_turns(lambda: judge(*prints, null), lambda: awm(base, other), 5)
    return ground.Row("judge two fingerprints of SmolLM2, all evidence", "AWM of the two models, both in memory", ours,
                      theirs, "< 1")
