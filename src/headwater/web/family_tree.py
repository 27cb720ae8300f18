"""A family as a drawing: boxes in rows, parents above, children below, and the lines between them. Geometry only.

Knows no hub, no words and no colours: a page gives members and ties, and writes the SVG around what comes back.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import Literal

WIDTH, HEIGHT = 208, 62
GAP, WIDE_GAP, RISE, MARGIN = 26, 190, 74, 14
"""Between neighbours; between neighbours with a line from one to the other; between rows; around it all."""
ROW = 14
"""Boxes in a row; those that find no place are counted."""

Badge = Literal["", "both", "found", "open", "kin", "declared", "not-seen", "not-here", "unrelated"]
Order = Literal["weights", "tree", "declared", "open"]


@dataclass(frozen=True)
class Member:
    """badge: what stands at the foot of the box. linked: whether it is a repo that the viewer may open."""

    name: str
    badge: Badge = ""
    linked: bool = True

    @property
    def owner(self) -> str:
        return short_of(self.name.rpartition("/")[0], 26)

    @property
    def short(self) -> str:
        return short_of(self.name.rpartition("/")[2], 21)


@dataclass(frozen=True)
class Tie:
    """From parent to child where the order is not "open". verdict "": only the card says so. share: of a merge."""

    parent: str
    child: str
    order: Order
    verdict: str
    agreement: float | None
    share: float | None = None


@dataclass(frozen=True)
class Box:
    """x, y: of its upper left corner."""

    member: Member
    x: float
    y: float

    @property
    def middle(self) -> float:
        return self.x + WIDTH / 2


@dataclass(frozen=True)
class Line:
    """path: of an SVG path. x, y: where its label of one line stands, in the middle; `below`: where a second line of it
    does."""

    tie: Tie
    path: str
    x: float
    y: float
    below: float


@dataclass(frozen=True)
class Drawing:
    """centre: the x of the box the drawing is about. left_out: members that found no place."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    centre: float
    left_out: int


def short_of(name: str, most: int) -> str:
    """The name, its middle left out where it is too long: names tell themselves apart at both ends."""
    if len(name) <= most:
        return name
    head = (most - 1) * 3 // 5
    return f"{name[:head]}…{name[len(name) - (most - 1 - head):]}"


def draw(members: Sequence[Member], ties: Sequence[Tie], centre: str, beside: Member | None = None) -> Drawing:
    """centre: a member's name; rows are counted from it. beside: stands in its row, without a line."""
    by_name = {member.name: member for member in members}
    ties = [t for t in ties if t.parent in by_name and t.child in by_name and t.parent != t.child]
    rows, left_out = _rows(_levels(by_name, ties, centre), ties, centre)
    tied = {frozenset((t.parent, t.child)) for t in ties}
    own = next((n for n, row in enumerate(rows) if centre in row), 0)
    boxes, drop = [], 0.0
    for number, row in enumerate(rows):
        places = _spread(row, tied)
        boxes += [Box(by_name[name], x, MARGIN + number * (HEIGHT + RISE) + drop) for name, x in zip(row, places,
                                                                                                  strict=True)]
        drop += 34 if _skips(row, tied) else 0  # room for the arcs under a row
    if beside is not None and rows:
        mine = [b for b in boxes if b.member.name in rows[own]]
        boxes.append(Box(beside, max(b.x for b in mine) + WIDTH + 2 * GAP, mine[0].y))
    return _moved(boxes, ties, centre, left_out)


def _levels(by_name: Mapping[str, Member], ties: Sequence[Tie], centre: str) -> dict[str, int]:
    """How many rows below the centre each stands; those no line leads to stand beside it."""
    next_to: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for tie in ties:
        down = 0 if tie.order == "open" else 1
        next_to[tie.parent].append((tie.child, down))
        next_to[tie.child].append((tie.parent, -down))
    levels, todo = {centre: 0}, deque([centre])
    while todo:
        name = todo.popleft()
        for other, step in next_to[name]:
            if other not in levels:
                levels[other] = levels[name] + step
                todo.append(other)
    return _parents_above(levels | {name: 0 for name in by_name if name not in levels}, ties)


def _parents_above(levels: dict[str, int], ties: Sequence[Tie]) -> dict[str, int]:
    """The same with every parent above its children, where several ways of unlike length lead to one of them: above the
    centre parents move up, below it children down. Orders that run in a circle end with the rounds."""
    ordered = [tie for tie in ties if tie.order != "open"]
    for _ in levels:
        wrong = [tie for tie in ordered if levels[tie.parent] >= levels[tie.child]]
        if not wrong:
            break
        for tie in wrong:
            if levels[tie.child] <= 0:
                levels[tie.parent] = min(levels[tie.parent], levels[tie.child] - 1)
            else:
                levels[tie.child] = max(levels[tie.child], levels[tie.parent] + 1)
    return levels


def _rows(levels: Mapping[str, int], ties: Sequence[Tie], centre: str) -> tuple[list[list[str]], int]:
    """Names by row, from the top, each near those it is tied to; how many found no place."""
    rows: dict[int, list[str]] = defaultdict(list)
    for name, level in levels.items():
        rows[level].append(name)
    place: dict[str, float] = {}
    left_out = 0
    for level in sorted(rows, key=abs):
        near: dict[str, list[float]] = defaultdict(list)
        for tie in ties:
            for name, other in ((tie.parent, tie.child), (tie.child, tie.parent)):
                if other in place:
                    near[name].append(place[other])
        row = sorted(rows[level], key=lambda name: (mean(near[name]) if name in near else 0.0, name != centre))
        left_out += len(row[ROW:])
        row = _side_by_side(row[:ROW], ties, centre)
        place |= {name: n - (len(row) - 1) / 2 for n, name in enumerate(row)}
        rows[level] = row
    return [rows[level] for level in sorted(rows)], left_out


def _side_by_side(row: Sequence[str], ties: Sequence[Tie], centre: str) -> list[str]:
    """The row with those next to each other that a line across joins; the centre's kin on both sides of it."""
    beside: dict[str, list[str]] = defaultdict(list)
    for tie in ties:
        if tie.order == "open" and tie.parent in row and tie.child in row:
            beside[tie.parent].append(tie.child)
            beside[tie.child].append(tie.parent)
    seen: set[str] = set()

    def walk(name: str) -> list[str]:
        seen.add(name)
        return [name, *(one for other in beside[name] if other not in seen for one in walk(other))]

    found: list[str] = []
    for name in sorted(row, key=lambda name: name != centre):
        if name in seen:
            continue
        if name != centre:
            found += walk(name)
            continue
        seen.add(centre)
        arms = [walk(other) for other in beside[centre] if other not in seen]
        left = [one for arm in arms[1::2] for one in arm]
        found += [*reversed(left), centre, *(one for arm in arms[::2] for one in arm)]
    return found


def _spread(row: Sequence[str], tied: set[frozenset[str]]) -> list[float]:
    """Left edges of a row's boxes, around 0."""
    places = [0.0]
    for one, two in pairwise(row):
        places.append(places[-1] + WIDTH + (WIDE_GAP if frozenset((one, two)) in tied else GAP))
    middle = (places[-1] + WIDTH) / 2
    return [x - middle for x in places]


def _skips(row: Sequence[str], tied: set[frozenset[str]]) -> bool:
    return any(frozenset((one, two)) in tied for n, one in enumerate(row) for two in row[n + 2:])


def _moved(boxes: Sequence[Box], ties: Sequence[Tie], centre: str, left_out: int) -> Drawing:
    """Everything at positive places, with the lines between."""
    left = min(b.x for b in boxes) - MARGIN
    placed = tuple(Box(b.member, round(b.x - left, 1), b.y) for b in boxes)
    by_name = {b.member.name: b for b in placed}
    lines = tuple(_line(t, by_name[t.parent], by_name[t.child], placed) for t in ties
                  if t.parent in by_name and t.child in by_name)
    arcs = [line.below for line in lines]
    return Drawing(max(b.x for b in placed) + WIDTH + MARGIN,
                   max([b.y + HEIGHT for b in placed] + arcs) + MARGIN, placed, lines,
                   by_name[centre].middle, left_out)


def _line(tie: Tie, parent: Box, child: Box, boxes: Sequence[Box]) -> Line:
    if parent.y != child.y:
        upper, lower = sorted((parent, child), key=lambda b: b.y)
        start, end = upper.y + HEIGHT, lower.y
        bend = (start + end) / 2
        # The label stands at the end that has fewer lines of its own: the child's, seen from the middle of the tree.
        at = lower.middle if lower is child else upper.middle
        y = bend + (14 if at != parent.middle else 4)
        return Line(tie, f"M{upper.middle:g} {start:g}C{upper.middle:g} {bend:g} {lower.middle:g} {bend:g} "
                         f"{lower.middle:g} {end:g}", (at * 2 + parent.middle) / 3, y - 8, y + 7)
    one, two = sorted((parent, child), key=lambda b: b.x)
    between = any(one.x < b.x < two.x and b.y == one.y for b in boxes)
    if not between:
        y = one.y + HEIGHT / 2
        return Line(tie, f"M{one.x + WIDTH:g} {y:g}H{two.x:g}", (one.x + WIDTH + two.x) / 2, y - 8, y + 17)
    y = one.y + HEIGHT
    return Line(tie, f"M{one.middle:g} {y:g}C{one.middle:g} {y + 44:g} {two.middle:g} {y + 44:g} {two.middle:g} {y:g}",
                (one.middle + two.middle) / 2, y + 30, y + 45)
