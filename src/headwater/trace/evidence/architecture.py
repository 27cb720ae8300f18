"""The shapes of the two models. Thousands of models have Llama's: context only."""

from __future__ import annotations

from dataclasses import asdict

from headwater.trace.compared import Compared
from headwater.trace.judgement import Evidence
from headwater.trace.said import clauses, said

SHAPE = ("form", "width", "layers", "neurons", "experts")


def look(pair: Compared) -> Evidence:
    one, two = asdict(pair.a.architecture), asdict(pair.b.architecture)
    differ = [name for name in SHAPE if one[name] != two[name]]
    figures = {f"{name}_{side}": shape[name] for name in SHAPE for side, shape in (("a", one), ("b", two))}
    figures["same"] = not differ
    if not differ:
        return Evidence("architecture", "context", said(
            "Both are %(layers)s layers of %(neurons)s neurons, %(width)s wide.",
            **{name: one[name] for name in ("layers", "neurons", "width")}), figures)
    in_what = clauses(said("%(name)s %(a)s and %(b)s", name=_names()[name], a=one[name], b=two[name])
                      for name in differ)
    return Evidence("architecture", "context", said("They differ in %(what)s.", what=in_what), figures)


def _names() -> dict[str, str]:
    return {"form": said("form"), "width": said("width"), "layers": said("layers"), "neurons": said("neurons"),
            "experts": said("experts")}


EVIDENCE = look
