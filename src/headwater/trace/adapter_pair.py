"""An adapter beside a model, or beside another adapter, in whole: what the files show, as evidence for a judgement.

A model has neurons to compare and an adapter has none, so trace/pair.py comes here when either side is one. Which base
it was trained on is asked of its numbers (trace/grown_on.py); names and shapes only say where it fits.
"""

from __future__ import annotations

from dataclasses import replace

from headwater.trace.adapters import Fit, fit, rows_alike
from headwater.trace.grown_on import grown_on
from headwater.trace.judgement import Direction, Evidence, Judgement, Verdict
from headwater.trace.kept_whole import KEPT, kept_whole
from headwater.trace.reader import Reader
from headwater.trace.roles import Roles
from headwater.trace.said import said, sentences
from headwater.trace.same_change import SAME, compare_changes

FITS, GROWN, CHANGE = "adapter fits", "grown on", "same change"
Side = tuple[Reader, Roles]


def adapter_evidence(a: Side, b: Side) -> tuple[Evidence, ...]:
    """Of two models of which one or both are adapters."""
    if a[1].adapter and b[1].adapter:
        change = compare_changes(a[0], a[1].changes, b[0], b[1].changes)
        return (change.as_evidence(),) if change is not None else ()
    (adapter, roles), (base, _) = (a, b) if a[1].adapter else (b, a)
    fits = fit(roles, base.header, base.columns)
    found = [_fits(fits)]
    targets = [t for t in fits.targets if rows_alike(t.name, adapter.header, base.header)]
    grown = grown_on(adapter, base, targets) if targets else None
    whole = kept_whole(adapter, roles.kept, base)
    return (*found, *([] if grown is None else [grown.as_evidence()]), *([] if whole is None else [whole]))


def _fits(found: Fit) -> Evidence:
    fits = len(found.targets)
    places = {"fits": fits, "of": found.of, "misfits": found.misfits}
    says = said("%(fits)s of %(of)s pairs of the adapter fit a matrix of the model by name and shape; %(misfits)s have "
                "its name and another shape.", **places)
    return Evidence(FITS, "context" if fits else "none", says, {**places})


def deepen_adapter(judgement: Judgement, evidence: tuple[Evidence, ...]) -> Judgement | None:
    """The judgement with what adapter_evidence found; None where it found nothing of an adapter."""
    named = {e.name: e for e in evidence}
    if CHANGE in named:
        return _of_two(judgement, named[CHANGE], evidence)
    if FITS not in named:
        return None
    fits, grown = named[FITS], named.get(GROWN)
    deeper = replace(judgement, evidence=judgement.evidence + evidence)
    if grown is not None and grown.strength == "proof":
        return _trained_on(deeper, grown)
    if KEPT in named and named[KEPT].strength == "strong":
        return _carries(deeper, named[KEPT])
    if fits.figures["fits"] == 0:
        return replace(deeper, verdict=Verdict.UNRELATED,
                       says=said("The adapter does not fit the model. %(fits)s", fits=fits.says))
    if judgement.verdict.kin:
        return deeper
    says = said("The adapter fits by shape, which proves nothing. %(fits)s", fits=fits.says)
    return replace(deeper, verdict=Verdict.CANNOT_TELL, says=says if grown is None else sentences([says, grown.says]))


def _trained_on(deeper: Judgement, grown: Evidence) -> Judgement:
    side = "a" if _form(deeper, "a") == "adapter" else "b"
    direction: Direction = "a-from-b" if side == "a" else "b-from-a"
    clue = Evidence(GROWN, "proof", said("%(child)s is the adapter: the model was there before.", child=side.upper()),
                    {"child": side})
    return replace(
        deeper, verdict=Verdict.ADAPTER, direction=direction, direction_evidence=(clue,), says=said(
            "The adapter was trained on this model, or on kin of it whose neurons stand in the same order. %(grown)s",
            grown=grown.says), would_change=said("Which of several kin it was trained on is not shown by this."))


def _carries(deeper: Judgement, whole: Evidence) -> Judgement:
    side = "a" if _form(deeper, "a") == "adapter" else "b"
    direction: Direction = "a-from-b" if side == "a" else "b-from-a"
    return replace(deeper, verdict=Verdict.ADAPTER, direction=direction, direction_evidence=(
        Evidence(KEPT, "strong", whole.says, {"child": side}),), says=said(
            "The adapter carries matrices of this model, or of kin of it, whole. %(whole)s", whole=whole.says),
        would_change=said("Which of several kin it was trained on is not shown by this."))


def _form(judgement: Judgement, side: str) -> object:
    return next((e.figures for e in judgement.evidence if e.name == "architecture"), {}).get(f"form_{side}")


def _of_two(judgement: Judgement, change: Evidence, evidence: tuple[Evidence, ...]) -> Judgement:
    deeper = replace(judgement, evidence=judgement.evidence + evidence)
    if change.strength == "none" or judgement.verdict is Verdict.IDENTICAL:
        return deeper
    if float(change.figures["cosine"] or 0) >= SAME:
        return replace(deeper, verdict=Verdict.REENCODED, says=said(
            "The two adapters make the same change, written differently. %(change)s", change=change.says))
    return replace(deeper, verdict=Verdict.DESCENDS, says=said(
        "One adapter was trained on from the other, or both from a third. %(change)s", change=change.says))
