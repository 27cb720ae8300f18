"""The tree of a family out of the judgements of its pairs: who stands next to whom, and who came first where it shows.

Kin are joined by the shortest edges (a minimum spanning tree over squared angles between corresponding neurons, which a
rotation does not change). An edge is ordered by the pair's own evidence; and, because a model that is no merge has one
parent, by the tree itself: a child's other edges lead to its children. Merges have several parents, and must be proved
from the files (trace/merges.py); the tree only names those that look like one. Knows no hub.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import pi, sqrt
from typing import Any, Literal

from headwater.trace.direction import SPEAKS
from headwater.trace.judgement import Judgement, Verdict
from headwater.trace.union import Union

SAME = 0.01
"""Angle in radians under which two are near-duplicates; their place in the tree is then chance, and is left open."""
CHANCE = 0.005
"""In radians: what the angle to the same weights may differ by from one measuring to the next."""
STRAIGHT = 1.1
"""Path over a third model against the straight way: 1 on the line between two parents, near 1.41 for a grandchild."""

Order = Literal["weights", "tree", "open"]
_LAYERLESS = (Verdict.SHARES_EMBEDDINGS, Verdict.ADAPTER)


@dataclass(frozen=True)
class Branch:
    """order: "weights" where the pair's evidence says which came first, "tree" where it follows from the other edges,
    "open" where nothing does (parent and child are then in the order of their names). angle: between corresponding
    neurons, in radians; 0 for the same weights."""

    parent: str
    child: str
    order: Order
    verdict: Verdict
    angle: float
    agreement: float | None


@dataclass(frozen=True)
class Tree:
    """roots: one for each family, where its branches are ordered. looks_merged: (child, one, other) that lies on the
    line between two others; to be proved from the files. alone: models without kin."""

    branches: tuple[Branch, ...]
    families: tuple[tuple[str, ...], ...]
    roots: tuple[str, ...]
    looks_merged: tuple[tuple[str, str, str], ...]
    alone: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def parents(self, name: str) -> list[str]:
        """Those whose branch to it is ordered."""
        return [b.parent for b in self.branches if b.child == name and b.order != "open"]


def grow_tree(names: Sequence[str], judgements: Mapping[tuple[str, str], Judgement],
              merges: Mapping[str, Sequence[str]] | None = None) -> Tree:
    """names: of the same weights under several the first is what others hang on. judgements: by (a, b), each pair
    once, in either order; a pair that is missing was not compared. merges: the proved ones, each child's parents."""
    merges = merges or {}
    edges = {pair: j for pair, j in judgements.items() if j.verdict.kin and j.verdict not in _LAYERLESS
             and set(pair) <= set(names)}
    angles = {frozenset(pair): angle_of(j) for pair, j in edges.items()}
    kept, family = _shortest(names, edges, angles, merges)
    ordered = _order(kept, edges, merges)
    branches = [_branch(pair, edges[pair], ordered.get(pair), angles[frozenset(pair)], merges) for pair in kept]
    families = tuple(tuple(sorted(members)) for members in family.values() if len(members) > 1)
    children = {b.child for b in branches if b.order != "open"}
    roots = tuple(name for members in families if len(left := [n for n in members if n not in children]) == 1
                  for name in left)
    alone = tuple(sorted(name for members in family.values() if len(members) == 1 for name in members))
    return Tree(tuple(sorted(branches, key=lambda b: (b.parent, b.child))), families, roots,
                tuple(_on_a_line(names, angles, merges)), alone)


def angle_of(judgement: Judgement) -> float:
    """Between corresponding neurons' profiles; from the agreement alone, and so upwards of a right angle's half, where
    too few correspond."""
    figures = {e.name: e.figures for e in judgement.evidence}
    if judgement.verdict is Verdict.IDENTICAL:
        return 0.0
    if "profile" in figures.get("norms", {}):
        return (1 - min(1.0, float(figures["norms"]["profile"] or 0))) * pi / 2
    if "alike" in figures.get("aligned", {}):
        return (1 - min(1.0, max(0.0, float(figures["aligned"]["alike"] or 0)))) * pi / 2
    return pi / 2 * (1 - 0.5 * (judgement.agreement or 0))


_Pair = tuple[str, str]


def _shortest(names: Sequence[str], edges: Mapping[_Pair, Judgement], angles: Mapping[frozenset[str], float],
              merges: Mapping[str, Sequence[str]]) -> tuple[list[_Pair], dict[str, list[str]]]:
    """Kruskal's tree, and all edges of merges to their parents; members of each family by one of its names."""
    union = Union(names)
    kept = [pair for pair in edges if any(pair[k] in merges.get(pair[1 - k], ()) for k in range(2))]
    for one, two in kept:
        union.join(one, two)
    copies = {_child(pair, j) for pair, j in edges.items() if angles[frozenset(pair)] < SAME}
    place = {name: n for n, name in enumerate(names)}
    later = {max(pair, key=lambda name: place[name]) for pair, j in edges.items() if j.verdict is Verdict.IDENTICAL}

    def length(pair: _Pair) -> tuple[bool, bool, float, _Pair]:
        # A quantised or cut copy hangs on what it is a copy of; others at its distance hang on the original.
        angle = angles[frozenset(pair)]
        # Of the same weights twice the first stands for both: what tells their distances apart is chance.
        return angle >= SAME, bool(copies & set(pair)), angle + CHANCE * bool(later & set(pair)), pair

    for pair in sorted(edges, key=length):
        if union.join(*pair):
            kept.append(pair)
    family: dict[str, list[str]] = defaultdict(list)
    for name in names:
        family[union.root(name)].append(name)
    return kept, family


def _child(pair: _Pair, judgement: Judgement) -> str | None:
    return None if judgement.direction == "unknown" else pair[0] if judgement.direction == "a-from-b" else pair[1]


def _order(kept: Sequence[_Pair], edges: Mapping[_Pair, Judgement],
           merges: Mapping[str, Sequence[str]]) -> dict[_Pair, tuple[str, Order]]:
    """(child, how it is known) of the edges that have an order."""
    found: dict[_Pair, tuple[str, Order]] = {}
    claims: dict[str, list[tuple[int, float, _Pair]]] = defaultdict(list)
    for pair in kept:
        child = next((pair[k] for k in range(2) if pair[1 - k] in merges.get(pair[k], ())), None)
        if child is not None:
            found[pair] = (child, "weights")
        elif (named := _child(pair, edges[pair])) is not None and named not in merges:
            strength = min(SPEAKS.index(c.strength) for c in edges[pair].direction_evidence if c.strength in SPEAKS)
            claims[named].append((strength, angle_of(edges[pair]), pair))
    for named, listed in claims.items():  # one parent: of several claims the strongest, then the nearest
        found[min(listed)[2]] = (named, "weights")
    todo = deque(child for child, _ in found.values())
    while todo:
        parented = todo.popleft()
        for pair in kept:
            if parented in pair and pair not in found:
                child = pair[1] if pair[0] == parented else pair[0]
                found[pair] = (child, "tree")
                todo.append(child)
    return found


def _branch(pair: _Pair, judgement: Judgement, ordered: tuple[str, Order] | None, angle: float,
            merges: Mapping[str, Sequence[str]]) -> Branch:
    if ordered is None or (ordered[1] == "tree" and angle < SAME):
        parent, child = sorted(pair)
        return Branch(parent, child, "open", judgement.verdict, round(angle, 4), judgement.agreement)
    child, order = ordered
    parent = pair[0] if pair[1] == child else pair[1]
    verdict = Verdict.MERGE if parent in merges.get(child, ()) else judgement.verdict
    return Branch(parent, child, order, verdict, round(angle, 4), judgement.agreement)


def _on_a_line(names: Sequence[str], angles: Mapping[frozenset[str], float],
               merges: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str]]:
    """Models between two others: parts of both, or steps on the way from one to the other. The files tell which."""
    found = []
    for child in names:
        if child in merges:
            continue
        near = [n for n in names if n != child and angles.get(frozenset((n, child)), 0) > SAME]
        for one, two in combinations(near, 2):
            whole = angles.get(frozenset((one, two)))
            ways = angles[frozenset((one, child))], angles[frozenset((two, child))]
            # Angles add up like this while they are small; a merge of equal parts has two ways of about one length.
            if whole and sqrt(sum(w * w for w in ways)) < whole and sum(ways) < STRAIGHT * whole:
                found.append((child, one, two))
    return found
