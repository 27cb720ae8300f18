"""The tree over the whole hub: every model at main that a viewer may read, and the edges between them. As GraphML too.

Of files that stand in several repos the oldest bears the edges; the others hang on it as identical.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from headwater.core.descent import Edge, Kept, Place
from headwater.core.types import Actor
from headwater.trace import Trace
from headwater.trace.declared import bases_of
from headwater.trace.judgement import Verdict
from headwater.trace.mixing import laid_over, proved
from headwater.trace.work import state_of

NODES_MAX = 5_000


@dataclass(frozen=True)
class Node:
    """id: the repo's full name. about: of the fingerprint, plain JSON; {} when it could not be read."""

    id: str
    revision: str
    state: str
    about: dict[str, Any]


@dataclass(frozen=True)
class Link:
    """From parent to child where `ordered`, else from the earlier to the later of the two. null_n, null_max: how many
    independent pairs there are to compare with, and the most any of them agrees. declared: the child's card says so."""

    source: str
    target: str
    verdict: str
    ordered: bool
    agreement: float | None
    null_n: int
    null_max: float
    operation: str | None
    declared: bool


@dataclass(frozen=True)
class Forest:
    """more: whether there are models beyond `limit`, which are left out."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    more: bool


def forest_of(trace: Trace, viewer: Actor, *, owner: str | None = None, verdict: str | None = None,
              at_least: float = 0.0, limit: int = 1000) -> Forest:
    """owner: edges with an end there, and their models. verdict, at_least (an agreement): edges to keep.

    Made once for as long as nothing changes; what is asked of the records each time is whether anything did.
    """
    asked = (viewer, owner, verdict, at_least, min(limit, NODES_MAX))
    return trace.forests.get(asked, trace.records.mark(), lambda: _forest_of(trace, *asked))


class Forests:
    """The trees asked for last, MOST of them. get: the one kept under a key if its mark is still the same and it is not
    older than KEPT_S (a judgement replaced by another of the same pair moves no mark), else a new one."""

    MOST, KEPT_S = 8, 30.0

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._kept: dict[Any, tuple[Any, float, Forest]] = {}
        self._lock, self._now = threading.Lock(), now

    def get(self, key: Any, mark: Any, make: Callable[[], Forest]) -> Forest:
        with self._lock:
            known = self._kept.get(key)
        if known is not None and known[0] == mark and self._now() - known[1] < self.KEPT_S:
            return known[2]
        made, at = make(), self._now()
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = mark, at, made
            while len(self._kept) > self.MOST:
                self._kept.pop(next(iter(self._kept)))
        return made


def _forest_of(trace: Trace, viewer: Actor, owner: str | None, verdict: str | None, at_least: float,
               limit: int) -> Forest:
    places = trace.records.heads(viewer, limit=limit + 1)
    more, places = len(places) > limit, places[:limit]
    kept = trace.records.get([p.fingerprint_id for p in places])
    places = [p for p in places if kept[p.fingerprint_id].problem or state_of(kept[p.fingerprint_id]) == "read"]
    firsts = _firsts(trace, viewer, places)
    links = [*_copies(places, firsts, kept), *_kin(trace, firsts)]
    links = [link for link in links if (verdict is None or link.verdict == verdict)
             and (not at_least or (link.agreement or 0.0) >= at_least)]
    if owner is not None:
        mine = owner.lower() + "/"
        links = [link for link in links if any(end.lower().startswith(mine) for end in (link.source, link.target))]
    ends = {end for link in links for end in (link.source, link.target)}
    narrowed = owner is not None or verdict is not None or at_least > 0
    nodes = (Node(p.repo.full_name, p.revision, state_of(kept[p.fingerprint_id]), kept[p.fingerprint_id].about)
             for p in places if not narrowed or p.repo.full_name in ends)
    return Forest(tuple(sorted(nodes, key=lambda n: n.id)), tuple(links), more)


def _firsts(trace: Trace, viewer: Actor, places: list[Place]) -> dict[int, Place]:
    """Of each fingerprint the repo that held it first, among those shown."""
    shown, firsts = {place.repo.id: place for place in places}, dict[int, Place]()
    for place in trace.records.places({p.fingerprint_id for p in places}, viewer):
        if place.head and place.repo.id in shown:
            firsts.setdefault(place.fingerprint_id, shown[place.repo.id])
    return firsts


def _copies(places: list[Place], firsts: dict[int, Place], kept: dict[int, Kept]) -> Iterator[Link]:
    for place in places:
        first = firsts.get(place.fingerprint_id)
        if first is not None and place is not first and not kept[place.fingerprint_id].problem:
            yield Link(first.repo.full_name, place.repo.full_name, str(Verdict.IDENTICAL), False, 1.0, 0, 0.0, None,
                       first.repo.full_name.lower() in _bases(place))


def _kin(trace: Trace, firsts: dict[int, Place]) -> Iterator[Link]:
    names = {number: place.repo.full_name for number, place in firsts.items()}
    merges = proved(trace, names)
    edges = [edge if edge.a_id not in merges and edge.b_id not in merges else
             trace.records.edge(edge.a_id, edge.b_id) or edge
             for edge in trace.records.edges(firsts, within=True, brief=True)]
    bases = {number: _bases(place) for number, place in firsts.items()}
    for edge in laid_over(trace, edges, names):
        yield _link(edge, firsts, bases)


def _link(edge: Edge, firsts: Mapping[int, Place], bases: Mapping[int, set[str]]) -> Link:
    ends = (edge.b_id, edge.a_id)
    (parent, child), ordered = (ends, edge.direction == "a-from-b") if edge.direction != "b-from-a" else (
        ends[::-1], True)
    names = {number: firsts[number].repo.full_name for number in ends}
    says = {one: names[other].lower() in bases[one] for one, other in (ends, ends[::-1])}
    if not ordered and says[parent] != says[child]:
        (parent, child), ordered = ((parent, child) if says[child] else (child, parent)), True
    null = edge.judgement.get("null") or {}
    return Link(names[parent], names[child], edge.verdict, ordered, edge.agreement, int(null.get("n") or 0),
                float(null.get("max") or 0.0), edge.judgement.get("operation"), says[child])


def _bases(place: Place) -> set[str]:
    return {name.lower() for name, _ in bases_of(place.repo.card)}


# --- GraphML (graphml.graphdrawing.org): one key an attribute, directed edges from parent to child

_NODE_KEYS = {"revision": "string", "state": "string", "form": "string", "declared": "string", "parameters": "long",
              "layers": "int", "width": "int"}
_EDGE_KEYS = {"verdict": "string", "ordered": "boolean", "agreement": "double", "null_n": "int", "null_max": "double",
              "operation": "string", "base_declared": "boolean"}


def graphml(forest: Forest) -> Iterator[str]:
    yield ('<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
    for kind, keys in (("node", _NODE_KEYS), ("edge", _EDGE_KEYS)):
        for name, form in keys.items():
            yield f'<key id="{kind}_{name}" for="{kind}" attr.name="{name}" attr.type="{form}"/>\n'
    yield '<graph id="headwater" edgedefault="directed">\n'
    for node in forest.nodes:
        values = {"revision": node.revision, "state": node.state, **node.about}
        yield f"<node id={quoteattr(node.id)}>{_data('node', _NODE_KEYS, values)}</node>\n"
    for link in forest.links:
        values = {**vars(link), "base_declared": link.declared}
        yield (f"<edge source={quoteattr(link.source)} target={quoteattr(link.target)}>"
               f"{_data('edge', _EDGE_KEYS, values)}</edge>\n")
    yield "</graph>\n</graphml>\n"


def _data(kind: str, keys: dict[str, str], values: dict[str, Any]) -> str:
    return "".join(f'<data key="{kind}_{name}">{_text(values[name])}</data>' for name in keys
                   if values.get(name) is not None)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # XML 1.0 has no control characters, not even escaped.
    return escape("".join(c if c.isprintable() else " " for c in str(value)))
