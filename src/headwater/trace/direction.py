"""Which of two kin came from which, as far as their weights show it; else it is left open.

A list of clues, each with its strength. Two that contradict each other, or only weak ones, leave the direction open.
The rules presume kinship: for unrelated models they mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headwater.trace.judgement import Direction, Evidence, Strength
from headwater.trace.said import said

SPEAKS: tuple[Strength, ...] = ("proof", "strong", "moderate")
LESS_THAN_ROUNDING = 0.965
"""Correlation of row signs above which less was changed than 4 bits do: measured .88 to .94 after Q4, .98 after 3 %."""
UNDER_ROUNDING, MORE_THAN_ROUNDING = 0.6, 2.5
"""Between these shares of what rounding does to norms, it was rounding. A model trained by 3 % from its 4-bit form has
.33; one trained by as much as the rounding itself cannot be told by this. The upper bound leaves room for files whose
embeddings keep more bits than their layers."""
FEW_VALUES = 5.0
"""Bits a number of layers that lie on few values, scales included; embeddings beside them may keep 16."""
_OTHER = {"a": "b", "b": "a"}


def find_direction(evidence: Mapping[str, Evidence]) -> tuple[Direction, tuple[Evidence, ...]]:
    """evidence: by name. The strongest clues decide if they agree."""
    clues = list(_clues(evidence))
    for strength in SPEAKS:
        children = {str(clue.figures["child"]) for clue in clues if clue.strength == strength}
        if len(children) == 1:
            child = children.pop()
            return ("a-from-b" if child == "a" else "b-from-a"), tuple(clues)
        if children:
            return "unknown", tuple(clues)
    return "unknown", tuple(clues)


def both_are_children(clues: tuple[Evidence, ...]) -> bool:
    """Whether each has been through something the other has not: then neither is the other's parent."""
    return len({str(clue.figures["child"]) for clue in clues if clue.strength in SPEAKS}) == 2


def _clues(evidence: Mapping[str, Evidence]) -> Iterator[Evidence]:
    parts = evidence["parts"].figures
    yield from _experts_and_layers(parts)
    for name, what in (("neurons", said("neurons in each layer")), ("width", said("numbers in the stream"))):
        fewer = _less(parts, name)
        if fewer and not _less(parts, "experts"):
            yield _clue(f"fewer {name}", "strong", fewer, said(
                "%(child)s has fewer %(what)s: training does not add any.", child=fewer.upper(), what=what))
    rounding = list(_rounding(evidence))
    yield from rounding
    maybe_rounded = {str(clue.figures["child"]) for clue in rounding if clue.name == "fewer bits"
                     and clue.strength == "weak"}
    words = evidence["tokenizer"].figures
    if not words.get("same", True) and "a_in_b" in words:
        for child, inside, outside in (("b", "a_in_b", "b_in_a"), ("a", "b_in_a", "a_in_b")):
            if float(words[inside] or 0) > 0.99 and words[child] > words[_OTHER[child]] * 1.02:  # type: ignore[operator]
                sure = float(words[outside] or 0) < 0.98 and not maybe_rounded - {child}
                strength: Strength = "moderate" if sure else "weak"
                yield _clue("more tokens", strength, child, said(
                    "%(child)s has all the other's words and more: vocabularies are extended more often than cut.",
                    child=child.upper()))
    ratio = evidence["norms"].figures.get("b_over_a")
    if ratio is not None and abs(float(ratio) - 1) > 0.005:
        larger = "b" if float(ratio) > 1 else "a"
        yield _clue("norms", "weak", larger, said("%(child)s has the larger norms, which training mostly lets grow.",
                                                  child=larger.upper()))


def _experts_and_layers(parts: Mapping[str, object]) -> Iterator[Evidence]:
    dense = _less(parts, "experts")
    if dense and parts[f"experts_{dense}"] == 1:
        yield _clue("experts", "strong", _OTHER[dense], said(
            "%(child)s has several experts made of the other's one MLP.", child=_OTHER[dense].upper()))
    fewer = _less(parts, "layers")
    if not fewer:
        return
    more = _OTHER[fewer]
    if parts[f"twice_{more}"]:
        yield _clue("layers twice", "strong", more, said("%(child)s has layers twice that the other has once.",
                                                         child=more.upper()))
    else:
        yield _clue("fewer layers", "strong", fewer, said("%(child)s has only some of the other's layers.",
                                                          child=fewer.upper()))


def _rounding(evidence: Mapping[str, Evidence]) -> Iterator[Evidence]:
    """Few values in one of the two come about in both ways: it was rounded, or the other was trained from it since."""
    precision, aligned = evidence["precision"].figures, evidence["aligned"].figures
    bits = {side: float(precision[f"bits_{side}"] or 0) for side in "ab"}
    lattice = {side: float(precision[f"lattice_{side}"] or 0) for side in "ab"}
    alike = aligned.get("alike")
    for side, other in _OTHER.items():
        if bits[side] < 12 <= bits[other]:
            yield _fewer_bits(evidence, side, bits, lattice)
        if lattice[side] > 0.9 and lattice[other] < 0.1:
            if alike is not None and float(alike) > LESS_THAN_ROUNDING:
                yield _clue("left the lattice", "moderate", other, said(
                    "%(child)s is nearer to the other than rounding to 4 bits leaves two models, and lies no more on "
                    "the other's few values.", child=other.upper()))
            else:
                yield _clue("rounded", "weak", side, said(
                    "%(child)s lies on few values, as after 4 bits, and the other does not.", child=side.upper()))


def _fewer_bits(evidence: Mapping[str, Evidence], side: str, bits: Mapping[str, float],
                lattice: Mapping[str, float]) -> Evidence:
    """`side` keeps fewer bits than the other: its rounded form, if the norms moved as far as such rounding moves them.
    Less: the other was trained, a little, from the rounded one. More: either was trained, and nothing is shown."""
    other, share = _OTHER[side], change_by_rounding(evidence, bits_of_layers(evidence, side))
    places = {"bits": f"{bits[side]:.1f}", "more": f"{bits[other]:.1f}"}
    if share is None or share > MORE_THAN_ROUNDING or _signs_both_ways(evidence):
        return _clue("fewer bits", "weak", side, said(
            "%(child)s keeps %(bits)s bits a number and the other %(more)s.", child=side.upper(), **places))
    if share >= UNDER_ROUNDING:
        return _clue("fewer bits", "moderate", side, said(
            "%(child)s keeps %(bits)s bits a number and the other %(more)s, and the norms differ as far as such "
            "rounding moves them.", child=side.upper(), **places))
    # Numbers that lie on the few values themselves may have been kept in 16 bits before they were packed, or after.
    return _clue("more bits", "weak" if lattice[other] > 0.9 else "moderate", other, said(
        "%(child)s keeps %(more)s bits a number and is nearer to the other than rounding to %(bits)s bits leaves two "
        "models.", child=other.upper(), **places))


def bits_of_layers(evidence: Mapping[str, Evidence], side: str) -> float:
    """Bits a number that the layers keep: the whole file's, or fewer where they alone lie on few values."""
    precision = evidence["precision"].figures
    bits, lattice, others = (float(precision[name] or 0) for name in (f"bits_{side}", f"lattice_{side}",
                                                                      f"lattice_{_OTHER[side]}"))
    return min(bits, FEW_VALUES) if lattice > 0.9 and others < 0.1 and bits < 12 else bits


def change_by_rounding(evidence: Mapping[str, Evidence], bits: float) -> float | None:
    """How far the norms of corresponding neurons differ, in units of what rounding to so many bits does; None where
    too few correspond. Rounding moves each number by 8.6 % of the spread at 4.5 bits a number, half that for each bit
    more, and a norm of so many numbers by their root less (measured .97 to 1.2 for Q4_0, Q4_1, Q5_0 and Q8_0)."""
    spread, width = evidence["norms"].figures.get("spread"), evidence["parts"].figures.get("width_a")
    if spread is None or not width:
        return None
    return float(spread) / (0.6745 * 0.086 * 2 ** (4.5 - bits) / float(width) ** 0.5)


def _signs_both_ways(evidence: Mapping[str, Evidence]) -> bool:
    """Whether rows that meet their own numbers turned signs one way nearly always, and not always: as after training
    from a form with many zeros, and not after rounding to it."""
    turned = sorted(float(evidence["aligned"].figures.get(which) or 0) for which in ("lost", "gained"))
    return 0 < turned[0] < 0.2 * turned[1]


def _less(parts: Mapping[str, object], name: str) -> str | None:
    """The side that has fewer, or None."""
    a, b = parts[f"{name}_a"], parts[f"{name}_b"]
    return None if a == b else "a" if a < b else "b"  # type: ignore[operator]


def _clue(name: str, strength: Strength, child: str, says: str) -> Evidence:
    return Evidence(name, strength, says, {"child": child})
