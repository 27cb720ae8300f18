"""Adapters in the hub: which models they may belong to, what the files of both show, and which models hold one.

An adapter's fingerprint has no neurons, so the index finds it no kin. Models of its width and depth, and those its card
names, are looked at in whole in the same job; a model that descends from one of them is looked at for the adapter's
change. Newest first and few of each, so that no upload asks for much work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from headwater.core.descent import Edge, Kept, Mixed
from headwater.trace import Trace
from headwater.trace.adapter_pair import deepen_adapter
from headwater.trace.applied import Applied
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judgement import Evidence, Judgement, Verdict
from headwater.trace.merges import Mixture
from headwater.trace.said import said

MOST = 8
"""Of models and of adapters that are looked at for one upload."""
_LOOKED_AT = 1_000
_BASES = 2


def fitting(trace: Trace, kept: Kept) -> list[int]:
    """Fingerprints of models that an adapter may belong to and of adapters of its width; or of adapters that may belong
    to a model. MOST of each at most."""
    mine = kept.about
    places = trace.records.heads(None, limit=_LOOKED_AT)
    others = trace.records.get({place.fingerprint_id for place in places} - {kept.id})
    numbers = dict.fromkeys(place.fingerprint_id for place in places)
    listed = [(number, others[number].about) for number in numbers if number in others]
    adapters = [n for n, about in listed if about.get("form") == "adapter" and about.get("width") == mine.get("width")]
    if mine.get("form") == "adapter":
        return [n for n, about in listed if _belongs(mine, about)][:MOST] + adapters[:MOST]
    return [n for n in adapters if _belongs(others[n].about, mine)][:MOST]


def _belongs(adapter: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    return model.get("form") in ("gated", "plain") and adapter.get("width") == model.get("width") \
        and int(adapter.get("layers") or 0) <= int(model.get("layers") or 0)


def looked_at_whole(trace: Trace, edge: Edge, bodies: Mapping[int, Fingerprint]) -> Edge:
    """The edge of an adapter with what both files show, which is kept as a comparison of whole files is. As it is where
    neither is an adapter, the fingerprints say all, or the files cannot be read."""
    from headwater.trace.reading import CannotRead
    from headwater.trace.whole import compare_kept

    forms = {bodies[number].architecture.form for number in (edge.a_id, edge.b_id)}
    if "adapter" not in forms or edge.verdict != Verdict.CANNOT_TELL:
        return edge
    try:
        report = compare_kept(trace, edge.a_id, edge.b_id, bodies)
    except CannotRead:
        return edge
    deeper = deepen_adapter(Judgement.from_json(edge.judgement), report.evidence) if report is not None else None
    return edge if deeper is None else with_judgement(edge, deeper)


def with_judgement(edge: Edge, judgement: Judgement) -> Edge:
    from headwater.trace.work import finite

    found = finite(judgement.as_json())
    return replace(edge, kin=judgement.verdict.kin, verdict=str(judgement.verdict), direction=judgement.direction,
                   agreement=found["agreement"], judgement=found)


# --- models that hold an adapter


def holders(trace: Trace, kept: Kept) -> list[int]:
    """Models that may hold an adapter merged: this one, if adapters fit it and it descends from something; of an
    adapter, the models that descend from those it fits."""
    found = fitting(trace, kept)
    if kept.about.get("form") != "adapter":
        return [kept.id] if found and _bases(trace, kept.id) else []
    models = trace.records.get(found)
    return [n for n in found if models[n].about.get("form") != "adapter" and _bases(trace, n)][:MOST]


def _bases(trace: Trace, child: int) -> list[int]:
    """Kin of one shape whose weights differ from the child's, nearest first: what it may be with something added."""
    from headwater.trace.tree import angle_of

    edges = [e for e in trace.records.edges([child]) if e.verdict in (Verdict.DESCENDS, Verdict.REENCODED,
                                                                      Verdict.COMMON_ANCESTOR)]
    edges.sort(key=lambda e: angle_of(Judgement.from_json(e.judgement)))
    return [e.b_id if e.a_id == child else e.a_id for e in edges][:_BASES]


def try_adapters(trace: Trace, child: int, most_bytes: int) -> Mixture | None:
    """Whether the child is one of its kin with adapters of the hub merged in; kept if so, with an edge to each."""
    from headwater.trace.mixing import VERSION

    own = trace.records.get([child]).get(child)
    adapters = fitting(trace, own) if own is not None else []
    for base in _bases(trace, child) if adapters else ():
        found = _applied(trace, [child, base, *adapters], most_bytes)
        if found is None or not found.is_applied:
            continue
        mixture = Mixture({str(base): 1.0} | found.parts, found.left * found.change, found.change, True,
                          tuple(found.parts))
        trace.records.mixed(Mixed(child, VERSION, asdict(mixture)))
        _keep_edges(trace, child, {int(name): scale for name, scale in found.parts.items()}, found)
        return mixture
    return None


def _applied(trace: Trace, numbers: list[int], most_bytes: int) -> Applied | None:
    from headwater.trace.mixing import files_of
    from headwater.trace.reading import CannotRead, run_apart
    from headwater.trace.whole import MEMORY, REPORT_MAX, joined, read_of

    files = [files_of(trace, number) for number in numbers]
    if not all(files) or sum(f.size for mine in files for f in mine.values()) > most_bytes:
        return None
    try:
        data = run_apart("headwater.trace.whole_child", *joined(files, [read_of(trace, mine) for mine in files]),
                         most=REPORT_MAX, memory=MEMORY, asked={"names": [str(n) for n in numbers], "applied": True})
    except CannotRead:
        return None
    return Applied(**json.loads(data))


def _keep_edges(trace: Trace, child: int, scales: Mapping[int, float], found: Applied) -> None:
    """An edge from the child to each adapter it holds; what else is known of the child stays."""
    from headwater.trace import judgement
    from headwater.trace.work import edge_of

    bodies = {n: Fingerprint.from_bytes(body) for n, body in trace.records.bodies([child, *scales]).items()}
    if not {child, *scales} <= bodies.keys():
        return
    edges = [e for e in trace.records.edges([child], kin=None) if not e.kin and e.a_id == child]
    for adapter, scale in scales.items():
        edge = edge_of(trace, child, bodies[child], adapter, bodies[adapter])
        side: Literal["a", "b"] = "a" if edge.a_id == child else "b"
        edges.append(with_judgement(edge, holds(Judgement.from_json(edge.judgement), scale, found, side)))
    trace.records.judged(edges, of=child, version=judgement.VERSION)


def holds(before: Judgement, scale: float, found: Applied, child: Literal["a", "b"]) -> Judgement:
    """The judgement of a model and an adapter that is merged into it."""
    says = said("%(child)s holds the change of the adapter at %(scale)s of its size: without it, %(left)s of what "
                "%(child)s has beyond its base is left over.", child=child.upper(), scale=f"{scale:.3f}",
                left=f"{found.left:.0%}")
    proof = Evidence("applied", "proof", says, {"scale": scale, "left": round(found.left, 4),
                                                "change": round(found.change, 6)})
    clue = Evidence("applied", "proof", says, {"child": child})
    return replace(before, verdict=Verdict.MERGE, direction="a-from-b" if child == "a" else "b-from-a", says=says,
                   direction_evidence=(clue,), evidence=(*before.evidence, proof), operation="adapter merged")

