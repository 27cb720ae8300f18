"""A closer look: a model that no fingerprint is kin to is compared in whole with models of its shape.

Fingerprints lose a descent where every word is new and the stream was turned, or noise is as large as the weights; the
whole files often still show it (trace/pair.py), but cost minutes, so they are asked only where the cheap way found
nobody, of one model of each family, and of few. What is found is an edge as any other, with what it rests on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf
from typing import Any

from headwater.core.descent import Edge, Kept
from headwater.core.types import Job
from headwater.core.work import Progress, Work
from headwater.trace import Trace, judgement, norm_curves, whole
from headwater.trace.fingerprint import VERSION, Fingerprint
from headwater.trace.judgement import Verdict
from headwater.trace.reading import CannotRead
from headwater.trace.union import Union

_SHAPES = 1_000
"""Models of one width that are chosen among, the oldest: what others come from is older than they are."""
_RANKED, _AT_ONCE = 256, 32
"""Of these, how many are ranked by their neurons' norms; fingerprints held in memory meanwhile."""
_FAR = (Verdict.SHARES_EMBEDDINGS, Verdict.ADAPTER)
"""Kin that leave open where the layers come from."""


def enqueue(trace: Trace, kept: Kept) -> Job | None:
    """The job that looks closer at a model without kin; None where nothing is left to compare it with."""
    if not fitting(trace, kept):
        return None
    return trace.jobs.enqueue("trace-closer", {"fingerprint_id": kept.id}, title="Look closer at a model without kin",
                              by="headwater", key=f"trace-closer {kept.id}")


def fitting(trace: Trace, kept: Kept) -> list[int]:
    """Fingerprints of the form and width of this one, one of each family: those its card declares first, then likest in
    shape, then oldest. None that it was compared with, and none at all where it has kin."""
    form, width = kept.about.get("form"), kept.about.get("width")
    if kept.problem or form not in ("gated", "plain") or _has_kin(trace, kept.id):
        return []
    about = {one.id: one.about for one in trace.records.shaped(str(form), int(width), limit=_SHAPES)}
    known = trace.records.compared_with(kept.id, version=whole.VERSION)
    family = _families(trace, about)
    tried = {family[n] for n in known if n in family} | {kept.id}
    heads = {n for n in about if family[n] == n and n not in tried}
    declared = _declared(trace, kept) & (about.keys() - known)
    unlike = {n: sum(about[n].get(key) != kept.about.get(key) for key in ("neurons", "layers", "experts", "tokenizer"))
              for n in heads | declared}
    return sorted(unlike, key=lambda n: (n not in declared, unlike[n], n))


def candidates(trace: Trace, kept: Kept, most: int) -> list[int]:
    """Of those that fit, the `most` to compare first: what the card declares, then whose neurons have norms like this
    one's (trace/norm_curves.py)."""
    listed = fitting(trace, kept)[:_RANKED]
    if len(listed) <= most:
        return listed
    declared = _declared(trace, kept)
    mine, apart = norm_curves.curves(_prints(trace, {kept.id})[kept.id]), dict.fromkeys(listed, inf)
    for start in range(0, len(listed), _AT_ONCE):  # a fingerprint has up to a megabyte
        for number, made in _prints(trace, set(listed[start:start + _AT_ONCE])).items():
            apart[number] = norm_curves.distance(mine, norm_curves.curves(made))
    return sorted(apart, key=lambda n: (n not in declared, apart[n], n))[:most]


def closer_job(trace: Trace, most: int, most_bytes: int) -> Work:
    """The body of a "trace-closer" job: payload {fingerprint_id}. At most `most` others are compared, of files that
    have no more than most_bytes in all; it ends with the first that is kin and what that one is nearest to."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any]:
        number, compared, left_out, left = int(payload["fingerprint_id"]), 0, 0, most_bytes
        kept = trace.records.get([number]).get(number)
        listed = candidates(trace, kept, most) if kept is not None else []
        for other in listed:
            progress(compared + left_out, len(listed), stage="comparing whole files", unit="models")
            size = _bytes_of(trace, number) + _bytes_of(trace, other)
            if size > left:
                left_out += 1
                continue
            compared, left = compared + 1, left - size
            edge = look(trace, number, other, progress)
            if edge is not None and edge.kin:
                return {"compared": compared, "kin": True} | _and_beside(trace, number, other, progress)
        said = f"{left_out} have more bytes than trace_closer_max_bytes leaves" if left_out else None
        return {"compared": compared, "kin": False} | ({"why": said} if said else {})

    return work


def _and_beside(trace: Trace, number: int, other: int, progress: Progress) -> dict[str, int]:
    """The nearest of what was found is looked at too: the parent may be one of them. How many are kin."""
    edges = sorted(trace.records.edges([other]), key=lambda e: -(e.agreement or 0))
    beside = [n for e in edges if (n := e.b_id if e.a_id == other else e.a_id) != number][:2]
    found = [edge for n in beside if (edge := look(trace, number, n, progress)) is not None and edge.kin]
    return {"beside": len(found)} if beside else {}


def look(trace: Trace, one: int, other: int, progress: Progress) -> Edge | None:
    """Compare two in whole, if that was not done, and keep the edge if they are kin; None where a file is gone or
    cannot be read. One that an older version read is read first: it may be its turn only later."""
    from headwater.trace.work import read_revision

    for number in {one, other} - _prints(trace, {one, other}).keys():
        for place in trace.records.places([number], None)[:1]:
            read_revision(trace, place.repo, place.revision, progress)
    bodies = _prints(trace, {one, other})
    if len(bodies) < 2:
        return None
    try:
        if whole.compare_kept(trace, max(one, other), min(one, other), bodies) is None:
            return None
    except CannotRead:
        return None
    return keep(trace, one, other, bodies)


def keep(trace: Trace, one: int, other: int, bodies: Mapping[int, Fingerprint]) -> Edge:
    """The edge of two that were compared in whole, kept if they are kin by that."""
    from headwater.trace.work import edge_of

    edge = whole.seen_whole(trace, edge_of(trace, one, bodies[one], other, bodies[other]))
    if edge.kin:
        others = [e for e in trace.records.edges([edge.a_id], kin=None) if not e.kin and e.a_id == edge.a_id
                  and e.b_id != edge.b_id]
        trace.records.judged([*others, edge], of=edge.a_id, version=judgement.VERSION)
    return edge


def _has_kin(trace: Trace, number: int) -> bool:
    return any(edge.verdict not in _FAR for edge in trace.records.edges([number], brief=True))


def _families(trace: Trace, ids: Collection[int]) -> dict[int, int]:
    """Of each of these the oldest it is kin to, by whatever way among these."""
    union = Union(ids)
    for edge in trace.records.edges(ids, within=True, brief=True):
        if edge.verdict not in _FAR:
            older, newer = sorted((union.root(edge.a_id), union.root(edge.b_id)))
            union.join(newer, older)
    return {n: union.root(n) for n in ids}


def _declared(trace: Trace, kept: Kept) -> set[int]:
    from headwater.trace.work import declared_ids

    return set(declared_ids(trace, kept)) - {kept.id}


def _prints(trace: Trace, ids: Collection[int]) -> dict[int, Fingerprint]:
    """Those that this version reads."""
    found = trace.records.get(ids)
    current = [n for n in ids if n in found and not found[n].problem and found[n].version == VERSION]
    return {n: Fingerprint.from_bytes(body) for n, body in trace.records.bodies(current).items()}


def _bytes_of(trace: Trace, number: int) -> int:
    from headwater.trace.mixing import files_of

    return sum(file.size for file in files_of(trace, number).values())
