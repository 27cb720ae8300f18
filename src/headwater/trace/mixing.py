"""Merges in the hub: who looks like one is tried on the whole files, and what is proved is laid over the edges.

A fingerprint's judgements show only that a model lies on the line between two others (trace/tree.py); least squares
over the files (trace/merges.py) say whether it is their sum, and with what shares. Those are kept by fingerprints' ids.
Names are put in for a viewer, and of a merge one of whose parts a viewer may not read nothing is told.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from headwater.core.descent import Edge, Kept, Mixed
from headwater.core.work import Progress, Work
from headwater.trace import Trace, adapters_in_hub
from headwater.trace.judgement import Judgement
from headwater.trace.merges import MOST_CANDIDATES, PART, Mixture, with_mixture
from headwater.trace.reading import ModelFile, model_files, run_apart
from headwater.trace.tree import SAME, angle_of, grow_tree
from headwater.trace.whole import MEMORY, REPORT_MAX, joined, read_of

VERSION = 1
FAMILY_MAX = 24
_SHAPE = ("form", "width", "layers", "neurons", "experts")


def suspects(trace: Trace, kept: Kept) -> list[int]:
    """Fingerprints among the nearest kin of this one, itself included, that lie on a line with it and another."""
    near = sorted(_kin(trace, [kept.id]), key=_angle)[:FAMILY_MAX]
    ids = {end for edge in near for end in (edge.a_id, edge.b_id)}
    if len(ids) < 3:
        return []
    among = {(str(e.a_id), str(e.b_id)): Judgement.from_json(e.judgement)
             for e in _kin(trace, ids) if {e.a_id, e.b_id} <= ids}
    lines = grow_tree([str(n) for n in sorted(ids)], among).looks_merged
    return sorted({int(line[0]) for line in lines if str(kept.id) in line})


def enqueue(trace: Trace, kept: Kept) -> int:
    """Have those tried that look like merges, or may hold an adapter, since this model came; how many."""
    found = sorted({*suspects(trace, kept), *adapters_in_hub.holders(trace, kept)})
    for child in found:
        trace.jobs.enqueue("trace-merge", {"fingerprint_id": child}, title="Try a mixture", by="headwater",
                           key=f"trace-merge {child}")
    return len(found)


def merge_job(trace: Trace, most_bytes: int) -> Work:
    """The body of a "trace-merge" job: payload {fingerprint_id}. Rows of every matrix are read, of files that
    have no more than most_bytes together; else the result says why it was not tried."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any]:
        child = int(payload["fingerprint_id"])
        progress(0, None, stage="looking for adapters")
        if adapters_in_hub.try_adapters(trace, child, most_bytes) is not None:
            return {"tried": True, "is_merge": True, "candidates": 1}
        progress(0, None, stage="listing the files")
        others = candidates(trace, child)
        if len(others) < 2:
            return {"tried": False, "why": "fewer than two models could be parts of it"}
        files = [files_of(trace, number) for number in (child, *others)]
        if not all(files):  # deleted since
            return {"tried": False, "why": "files of one of them are gone"}
        total = sum(f.size for mine in files for f in mine.values())
        if total > most_bytes:
            return {"tried": False, "why": f"the files have {total} bytes together; trace_merge_max_bytes allows "
                                           f"{most_bytes}"}
        data = run_apart("headwater.trace.whole_child", *joined(files, [read_of(trace, mine) for mine in files]),
                         most=REPORT_MAX, memory=MEMORY, asked={"names": [str(number) for number in (child, *others)]},
                         tell=lambda done, total: progress(done, total or None, stage="trying sums"))
        found = Mixture(**json.loads(data))
        trace.records.mixed(Mixed(child, VERSION, asdict(found)))
        return {"tried": True, "is_merge": found.is_merge, "candidates": len(others)}

    return work


def candidates(trace: Trace, child: int) -> list[int]:
    """Kin of the child's shapes, nearest first, that may be its parts: no copies of it or of each other, no sums of
    others, nothing that is known to come from it."""
    edges = _kin(trace, [child])
    ends = {_other(edge, child) for edge in edges} | {child}
    about = {number: tuple(kept.about.get(key) for key in _SHAPE) for number, kept in trace.records.get(ends).items()}
    sums = {number for number, one in trace.records.mixtures(ends).items() if one.found["is_merge"]}
    near = [edge for edge in sorted(edges, key=_angle) if _angle(edge) >= SAME and not _came_after(edge, child)]
    fit = [n for n in (_other(edge, child) for edge in near) if n not in sums and about.get(n) == about.get(child)]
    copies = [{e.a_id, e.b_id} for e in _kin(trace, fit) if {e.a_id, e.b_id} <= set(fit) and _angle(e) < SAME]
    kept = [n for n in fit if not any(n in pair and n != min(pair) for pair in copies)]
    return kept[:MOST_CANDIDATES]


def _kin(trace: Trace, ids: Collection[int]) -> list[Edge]:
    return trace.records.edges(ids)


def _angle(edge: Edge) -> float:
    return angle_of(Judgement.from_json(edge.judgement))


def _other(edge: Edge, one: int) -> int:
    return edge.b_id if edge.a_id == one else edge.a_id


def _came_after(edge: Edge, child: int) -> bool:
    return edge.direction == ("b-from-a" if edge.a_id == child else "a-from-b")


def files_of(trace: Trace, number: int) -> Mapping[str, ModelFile]:
    """Of a fingerprint, where it was first; {} where it stands nowhere any more."""
    for place in trace.records.places([number], None)[:1]:
        return model_files(trace.files_of(place.repo, place.revision))
    return {}


# --- as a viewer may know it


def proved(trace: Trace, names: Mapping[int, str]) -> dict[int, dict[int, float]]:
    """Shares by part, of each merge among these that is proved and whose parts are all among these. names: what the
    viewer may read."""
    found = {}
    for child, one in trace.records.mixtures(names).items():
        parts = {int(n): w for n, w in one.found["coefficients"].items() if abs(w) >= PART}
        if one.version == VERSION and one.found["is_merge"] and parts.keys() <= names.keys():
            found[child] = parts
    return found


def laid_over(trace: Trace, edges: Iterable[Edge], names: Mapping[int, str]) -> list[Edge]:
    """The edges, those from a proved merge to its parts as that."""
    edges = list(edges)
    merges = proved(trace, names)
    mixtures = {child: _named(trace.records.mixtures([child])[child], names, merges[child]) for child in merges}
    return [_laid_over(edge, merges, mixtures) for edge in edges]


def _named(kept: Mixed, names: Mapping[int, str], parts: Mapping[int, float]) -> Mixture:
    return replace(Mixture(**kept.found), coefficients={names[n]: w for n, w in parts.items()})


def _laid_over(edge: Edge, merges: Mapping[int, Mapping[int, float]], mixtures: Mapping[int, Mixture]) -> Edge:
    from headwater.trace.work import finite

    for child, part in ((edge.a_id, edge.b_id), (edge.b_id, edge.a_id)):
        if part in merges.get(child, ()):
            mine: Literal["a", "b"] = "a" if child == edge.a_id else "b"
            said = with_mixture(Judgement.from_json(edge.judgement), mixtures[child], mine)
            return replace(edge, verdict=str(said.verdict), direction=said.direction, judgement=finite(said.as_json()))
    return edge


def parents_of(merges: Mapping[int, Mapping[int, float]]) -> dict[str, Sequence[str]]:
    """As trace/tree.py takes them."""
    return {str(child): [str(part) for part in parts] for child, parts in merges.items()}
