"""The families of the hub's tree, each thinned to the lines that hold it together, for people to look at. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from headwater.trace.forest import Forest, Link
from headwater.trace.judgement import Verdict
from headwater.trace.union import Union


@dataclass(frozen=True)
class Group:
    """names: in order of the alphabet. head: who stands above most of the others, as far as is known. links: one less
    than names, or more where a merge has several parents. undeclared: lines from a parent that no card names."""

    names: tuple[str, ...]
    head: str
    links: tuple[Link, ...]
    undeclared: int


def group(forest: Forest) -> tuple[list[Group], list[str]]:
    """Families, the largest first, and the names of models that have none."""
    there = {node.id for node in forest.nodes}
    union = Union(there)
    kept = [link for link in sorted(forest.links, key=_nearness) if {link.source, link.target} <= there
            and (union.join(link.source, link.target) or link.verdict == Verdict.MERGE)]
    members: dict[str, list[str]] = defaultdict(list)
    for node in forest.nodes:
        members[union.root(node.id)].append(node.id)
    lines: dict[str, list[Link]] = defaultdict(list)
    for link in kept:
        lines[union.root(link.source)].append(link)
    groups = [_group(sorted(names), lines[key]) for key, names in members.items() if len(names) > 1]
    alone = sorted(name for names in members.values() if len(names) == 1 for name in names)
    return sorted(groups, key=lambda g: (-len(g.names), g.head)), alone


def _nearness(link: Link) -> tuple[bool, float, bool, str, str]:
    return link.verdict != Verdict.MERGE, -(link.agreement or 0.0), not link.ordered, link.source, link.target


def _group(names: Sequence[str], links: Sequence[Link]) -> Group:
    children = {link.target for link in links if link.ordered}
    below: dict[str, int] = defaultdict(int)
    for link in links:
        below[link.source] += link.ordered
    head = min(names, key=lambda name: (name in children, -below[name], name))
    return Group(tuple(names), head, tuple(links),
                 sum(link.ordered and not link.declared and link.verdict != Verdict.IDENTICAL for link in links))
