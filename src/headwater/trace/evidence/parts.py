"""Which model is a part of the other: fewer layers, fewer neurons, a narrower stream, experts, layers that stand twice.

Says what was done once the two are known to be kin.
"""

from __future__ import annotations

from collections import Counter

from headwater.trace.compared import Compared
from headwater.trace.evidence.neurons import CARRIES
from headwater.trace.judgement import Evidence
from headwater.trace.said import clauses, said


def look(pair: Compared) -> Evidence:
    one, two = pair.a.architecture, pair.b.architecture
    figures = {"layers_a": one.layers, "layers_b": two.layers, "experts_a": one.experts, "experts_b": two.experts,
               "neurons_a": one.neurons // max(one.experts, 1), "neurons_b": two.neurons // max(two.experts, 1),
               "width_a": one.width, "width_b": two.width}
    clear = [p for p in pair.pairs if p.agreement >= CARRIES]
    order = [(p.a, p.b) for p in clear]
    figures["in_order"] = sorted(order) == sorted(order, key=lambda p: (p[1], p[0]))
    figures["twice_a"], figures["twice_b"] = _twice(pair, 0), _twice(pair, 1)
    told = [said("%(n)s layers of %(model)s stand for a layer of the other that another stands for too",
                 n=str(figures[f"twice_{side}"]), model=side.upper()) for side in "ab" if figures[f"twice_{side}"]]
    names = ("layers", "neurons", "experts", "width")
    differ = [name for name in names if figures[f"{name}_a"] != figures[f"{name}_b"]]
    told += [said("%(name)s %(a)s in A, %(b)s in B", name=_names()[name], a=str(figures[f"{name}_a"]),
                  b=str(figures[f"{name}_b"])) for name in differ]
    if not figures["in_order"]:
        told.append(said("the layers stand in another order"))
    if not told:
        return Evidence("parts", "context", said("The same count of layers, neurons and experts."), figures)
    return Evidence("parts", "context", said("Their parts differ: %(what)s.", what=clauses(told)), figures)


def _names() -> dict[str, str]:
    return {"layers": said("layers"), "neurons": said("neurons"), "experts": said("experts"), "width": said("width")}


def _twice(pair: Compared, axis: int) -> int:
    """How many layers of a (axis 0) or b (1) beyond the first suit one and the same layer of the other."""
    table = pair.agreement.table if axis == 0 else pair.agreement.table.T
    if not table.size:
        return 0
    best = Counter(int(row.argmax()) for row in table if row.max() >= CARRIES)
    return sum(count - 1 for count in best.values())


EVIDENCE = look
