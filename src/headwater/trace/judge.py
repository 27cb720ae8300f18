"""Judge two fingerprints: what one is to the other, on what grounds, and how often unrelated models look as much alike.

The verdict rests on the median layer's agreement, held against the null library, or on a proof: tensors that are the
same, rows that meet their own number. No p values of layers are ever multiplied or the smallest taken (notes: 10^-155
for two models trained apart). What the weights do not show is said to be open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headwater.trace.compared import Compared
from headwater.trace.direction import (
    UNDER_ROUNDING,
    bits_of_layers,
    both_are_children,
    change_by_rounding,
    find_direction,
)
from headwater.trace.evidence import shelf
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judgement import Direction, Evidence, Judgement, NullFigures, Verdict
from headwater.trace.null import NullLibrary, kind_of
from headwater.trace.said import clauses, said, sentences

SAME_NORMS = 0.0001
"""Corresponding norms that differ by less in the median were not trained since. Measured: .00002 after a rotation in 16
bits, .0002 after a change of 1 % of each weight (and after 8-bit rounding, which row signs tell apart)."""
SAME_SIGNS = 0.9995


@dataclass(frozen=True)
class _Case:
    """What the rules look at. figures of the evidence by name."""

    pair: Compared
    evidence: dict[str, Evidence]
    null: NullFigures
    library: NullLibrary

    def figure(self, name: str, which: str, default: float = 0.0) -> float:
        value = self.evidence[name].figures.get(which)
        return default if value is None else float(value)

    @property
    def median(self) -> float | None:
        return self.pair.agreement.median

    @property
    def above(self) -> bool:
        """Agrees further than the line, and than every independent pair."""
        line = self.library.line(self.null.kind)
        return self.median is not None and self.median >= line.kin and not self.null.as_high

    @property
    def layers_carry(self) -> bool:
        """Whether it is layers that descend: by the median, or by several inner layers that are wholly the other's."""
        line = self.library.line(self.null.kind)
        enough = max(2, 0.15 * self.figure("neurons", "inner"))
        return (self.above and (self.median or 0) >= line.layer) or self.figure("neurons", "carrying") >= enough

    def proves(self, name: str) -> bool:
        return self.evidence[name].strength == "proof"


def judge(a: Fingerprint, b: Fingerprint, null: NullLibrary) -> Judgement:
    """Of the pair alone. Siblings look like parent and child here: trace/tree.py sees more of the family."""
    pair = Compared(a, b)
    found = pair.agreement
    evidence = {look.name: look for look in (look(pair) for look in shelf)}
    case = _Case(pair, evidence, null.figures(kind_of(a, b), found.median), null)
    verdict, says, change = _verdict(case)
    direction: Direction = "unknown"
    clues: tuple[Evidence, ...] = ()
    layered = verdict.kin and verdict not in (Verdict.IDENTICAL, Verdict.SHARES_EMBEDDINGS, Verdict.ADAPTER)
    if layered:
        direction, clues = find_direction(evidence)
        if verdict in (Verdict.DESCENDS, Verdict.REENCODED) and both_are_children(clues):
            verdict, direction = Verdict.COMMON_ANCESTOR, "unknown"
            says = sentences([said("A and B have weights of one ancestor: each has been through something the other "
                                   "has not."), says])
    operation = ", ".join(_operations(case)) or None if layered else None
    return Judgement(verdict, direction, clues, found.median, case.null, pair.pairs, found.table,
                     tuple(evidence.values()), operation, {}, says, change, found.layers_a, found.layers_b)


_Answer = tuple[Verdict, str, str]


def _verdict(case: _Case) -> _Answer:
    for rule in (_unreadable, _identical, _of_layers, _of_other_parts, _not_kin):
        answer = rule(case)
        if answer is not None:
            return answer
    raise AssertionError("the last rule always answers")


def _unreadable(case: _Case) -> _Answer | None:
    forms = {case.pair.a.architecture.form, case.pair.b.architecture.form}
    if "adapter" in forms:
        return _adapter(case, forms)
    return None


def _adapter(case: _Case, forms: set[str]) -> _Answer:
    shared = int(case.figure("hashes", "shared"))
    if case.evidence["hashes"].figures.get("all"):
        return Verdict.IDENTICAL, said("A and B are the same adapter, tensor for tensor."), _NOTHING
    if shared and forms != {"adapter"}:
        return Verdict.ADAPTER, said(
            "The adapter carries %(n)s tensors of the other model as they are.", n=shared), _NOTHING
    if shared:
        return Verdict.DESCENDS, said("Two adapters have %(n)s tensors in common, as they are.", n=shared), _NOTHING
    if forms != {"adapter"} and not _may_fit(case):
        return (Verdict.UNRELATED, said("The adapter changes matrices that the other model does not have: their shapes "
                                        "differ."), _NOTHING)
    return (Verdict.CANNOT_TELL, said("An adapter's fingerprint does not show which model it was trained on."),
            _FILES)


def _may_fit(case: _Case) -> bool:
    """Whether an adapter's shape allows that it belongs to the other model; True where that has no layers known."""
    one, two = (print_.architecture for print_ in (case.pair.a, case.pair.b))
    adapter, model = (one, two) if one.form == "adapter" else (two, one)
    return model.form == "opaque" or (adapter.width == model.width and adapter.layers <= model.layers)


def _identical(case: _Case) -> _Answer | None:
    if not case.evidence["hashes"].figures.get("all") or not case.evidence["parts"].figures["in_order"]:
        return None
    return (Verdict.IDENTICAL, said("Every tensor of A is in B and every one of B in A."),
            "Only the sha256 of the files can say more: a piece of each tensor was read.")


_FILES = "Both files in whole: the adapter's rows beside the model's neurons."
_NOTHING = "Nothing: it does not rest on a share or a chance."
_PAIR = "Both files in whole: all neurons compared, and the difference of each tensor."


def _of_layers(case: _Case) -> _Answer | None:
    aligned = case.proves("aligned")
    # Where layers could be compared and do not agree, what is shared is something else: a vision tower, embeddings.
    shared = case.median is None and case.proves("hashes") and case.figure("hashes", "shared") >= 0.2 * min(
        case.figure("hashes", "of_a"), case.figure("hashes", "of_b"))
    if not (case.layers_carry or aligned or shared):
        return None
    verdict = _kind_of_descent(case)
    grounds = []
    if case.median is not None and case.above:
        grounds.append(said("in the median layer %(share)s of the neurons agree (%(null)s)",
                            share=f"{case.median:.0%}", null=case.null.says))
    elif case.layers_carry:
        grounds.append(said("%(n)s inner layers of one are in the other",
                            n=f"{case.figure('neurons', 'carrying'):.0f}"))
    if aligned:
        grounds.append(said("%(met)s of %(of)s rows meet their own number (p = 10^%(power)s)",
                            met=f"{case.figure('aligned', 'met'):.0f}", of=f"{case.figure('aligned', 'of'):.0f}",
                            power=f"{case.figure('aligned', 'log10_p'):.0f}"))
    if shared:
        grounds.append(said("%(n)s tensors are the same", n=f"{case.figure('hashes', 'shared'):.0f}"))
    change = _PAIR if verdict in (Verdict.DESCENDS, Verdict.REENCODED) else "A third model that both come from."
    return verdict, said("%(verdict)s: %(grounds)s.", verdict=_SAYS[verdict], grounds=clauses(grounds)), change


_SAYS = {
    Verdict.DESCENDS: said("Weights of one are in the other, or both have theirs from a third"),
    Verdict.REENCODED: said("A and B have the same weights, written differently"),
    Verdict.PRUNED: said("One is the other with parts left out"),
    Verdict.UPCYCLED: said("One has experts made of the other's layers"),
    Verdict.DEPTH_SCALED: said("One has the other's layers more than once"),
}


def _kind_of_descent(case: _Case) -> Verdict:
    parts = case.evidence["parts"].figures
    if parts["experts_a"] != parts["experts_b"] and 1 in (parts["experts_a"], parts["experts_b"]):
        return Verdict.UPCYCLED
    if parts["layers_a"] != parts["layers_b"]:
        more = "a" if parts["layers_a"] > parts["layers_b"] else "b"  # type: ignore[operator]
        return Verdict.DEPTH_SCALED if parts[f"twice_{more}"] else Verdict.PRUNED
    if parts["neurons_a"] != parts["neurons_b"] or parts["width_a"] != parts["width_b"]:
        return Verdict.PRUNED
    return Verdict.REENCODED if _same_weights(case) else Verdict.DESCENDS


def _same_weights(case: _Case) -> bool:
    """Whether nothing but the writing differs. Rounding loses signs (of numbers it makes zero) and wins none; training
    does both alike."""
    if (case.median or 0) < 0.9 or not case.evidence["parts"].figures["in_order"] \
            or case.evidence["tokenizer"].figures.get("same") is False:
        return False
    if not case.proves("aligned"):
        return case.figure("norms", "spread", 1.0) < SAME_NORMS
    turned = sorted(case.figure("aligned", which) for which in ("lost", "gained"))
    return case.figure("aligned", "alike") > SAME_SIGNS or (turned[0] == 0 and turned[1] >= 30 and _as_rounded(case))


def _as_rounded(case: _Case) -> bool:
    """Whether the norms moved as far as rounding moves them: a model trained a little from a form with many zeros turns
    signs one way too, because what was zero leaves it."""
    share = change_by_rounding(case.evidence, min(bits_of_layers(case.evidence, side) for side in "ab"))
    return share is None or share >= UNDER_ROUNDING


def _of_other_parts(case: _Case) -> _Answer | None:
    if case.above or case.evidence["embeddings"].strength == "strong" or case.proves("hashes"):
        grounds = [case.evidence[name].says for name in ("embeddings", "neurons", "hashes")
                   if case.evidence[name].strength != "none"]
        return (Verdict.SHARES_EMBEDDINGS, said(
            "A and B have embeddings, the basis of the residual stream or parts beside it in common, and no layer: "
            "%(grounds)s", grounds=sentences(grounds)),
                "A third model whose layers are in one and whose embeddings in both.")
    return None


def _not_kin(case: _Case) -> _Answer:
    forms = {case.pair.a.architecture.form, case.pair.b.architecture.form}
    if forms == {"gated", "plain"} and case.pair.a.frame and case.pair.b.frame:
        return (Verdict.UNRELATED, said("One has gates in its MLPs and the other none, so no layer of one is in the "
                                        "other as it is; nor was anything else found that both have."), _PAIR)
    blind = _blind(case)
    if blind:
        return Verdict.CANNOT_TELL, blind, _PAIR
    highest = max(case.null.max, 0.05)
    if (case.median or 0) > highest:
        return (Verdict.CANNOT_TELL, said(
            "In the median layer %(share)s of the neurons agree: more than in any independent pair, and too few to "
            "rest a verdict on.", share=f"{case.median:.0%}"), _PAIR)
    change = "A copy whose embeddings are all new and whose stream was rotated looks the same: both files in whole " \
             "can show that. Answers to the same questions can show if one learnt from the other."
    says = said("No weights of one are seen in the other: in the median layer %(share)s of the neurons agree, as in "
                "unrelated models (%(null)s).", share=f"{case.median or 0:.1%}", null=case.null.says)
    if case.evidence["architecture"].figures.get("same"):
        return Verdict.SAME_ARCHITECTURE, sentences([said("A and B have the same shape."), says]), change
    return Verdict.UNRELATED, says, change


def _blind(case: _Case) -> str | None:
    """Why a disguised copy could not have been seen, or None."""
    if case.median is None:
        return sentences([case.evidence["neurons"].says, case.evidence["aligned"].says])
    overlap = case.pair.vocabulary_overlap
    if overlap is None or max(overlap) < 0.05:
        return said("The two have hardly a word in common, so their neurons cannot be compared.")
    return None


def _operations(case: _Case) -> list[str]:
    """What was done, in words; of kin only."""
    rules: tuple[tuple[str, Callable[[_Case], bool]], ...] = (
        ("layers dropped", lambda c: _fewer(c, "layers") and not _doubled(c)),
        ("layers doubled", _doubled),
        ("layers reordered", lambda c: not c.evidence["parts"].figures["in_order"]),
        ("neurons pruned", lambda c: _fewer(c, "neurons") and not _fewer(c, "experts")),
        ("stream narrowed", lambda c: _fewer(c, "width")),
        ("split into experts", lambda c: _fewer(c, "experts")),
        ("permuted or rotated", _shuffled),
        ("quantised", _quantised),
        ("embeddings replaced", _embeddings_replaced),
        ("vocabulary changed", lambda c: c.evidence["tokenizer"].figures.get("same") is False),
    )
    return [name for name, holds in rules if holds(case)]


def _fewer(case: _Case, what: str) -> bool:
    parts = case.evidence["parts"].figures
    return parts[f"{what}_a"] != parts[f"{what}_b"]


def _doubled(case: _Case) -> bool:
    parts = case.evidence["parts"].figures
    return _fewer(case, "layers") and bool(parts["twice_a"] or parts["twice_b"])


def _shuffled(case: _Case) -> bool:
    """Neurons correspond, and not by number. Only where numbers could correspond."""
    return case.layers_carry and "met" in case.evidence["aligned"].figures and not case.proves("aligned")


def _quantised(case: _Case) -> bool:
    """By the bits the files keep: numbers on few values may as well have been left by training (direction.py)."""
    bits = sorted(case.figure("precision", f"bits_{side}") for side in "ab")
    return bits[0] < 12 <= bits[1]


def _embeddings_replaced(case: _Case) -> bool:
    """The neurons are the other's, number by number, and read other embeddings."""
    return case.proves("aligned") and case.figure("embeddings", "cosine", 1.0) < 0.05
