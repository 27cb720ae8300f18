"""The shapes of the two models. Thousands of models have Llama's: context only."""

from __future__ import annotations

from dataclasses import asdict

from headwater.trace.compared import Compared
from headwater.trace.judgement import Evidence

SHAPE = ("form", "width", "layers", "neurons", "experts")


def look(pair: Compared) -> Evidence:
    one, two = asdict(pair.a.architecture), asdict(pair.b.architecture)
    differ = [name for name in SHAPE if one[name] != two[name]]
    figures = {f"{name}_{side}": shape[name] for name in SHAPE for side, shape in (("a", one), ("b", two))}
    figures["same"] = not differ
    if not differ:
        return Evidence("architecture", "context", f"Both are {one['layers']} layers of {one['neurons']} neurons, "
                        f"{one['width']} wide.", figures)
    says = "; ".join(f"{name} {one[name]} and {two[name]}" for name in differ)
    return Evidence("architecture", "context", f"They differ in {says}.", figures)


EVIDENCE = look
