"""The tree of the whole hub: every family the visitor may see, drawn, with filters. Asks trace; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.trace.forest import forest_of
from headwater.trace.groups import Group, group
from headwater.trace.judgement import Verdict
from headwater.trace.lineage import unread
from headwater.web.family_tree import Drawing, Member, Tie, draw
from headwater.web.site import VisitorDep, app_of, page

router = APIRouter()
MODELS, PER_PAGE, DRAWN, ALONE, UNREAD = 2_000, 8, 60, 120, 40
VERDICTS = [str(v) for v in Verdict if v.kin]


@dataclass(frozen=True)
class Family:
    group: Group
    drawing: Drawing


@router.get("/lineage")
def lineage(request: Request, who: VisitorDep, owner: str = "", q: str = "", verdict: str = "", undeclared: str = "",
            p: int = 0) -> Response:
    """q: part of a member's name. undeclared: only families with a parent that no card names."""
    owner, q = owner.strip()[:200], q.strip()[:200]
    verdict = verdict if verdict in VERDICTS else ""
    forest = forest_of(app_of(request).trace, who.actor, owner=owner or None, verdict=verdict or None, limit=MODELS)
    groups, alone = group(forest)
    closed = {node.id for node in forest.nodes if node.state != "read"}
    alone, unreadable = [n for n in alone if n not in closed], sorted(closed)
    total = sum(len(g.names) for g in groups) + len(alone)
    wanted = [g for g in groups if (not undeclared or g.undeclared) and _holds(g.names, q)]
    first = max(0, min(p, len(wanted) // PER_PAGE)) * PER_PAGE
    asked = {"owner": owner, "q": q, "verdict": verdict, "undeclared": "1" if undeclared else ""}

    def address(p: int) -> str:
        return "/lineage?" + urlencode({k: v for k, v in (asked | {"p": str(p) if p else ""}).items() if v})

    def named(names: Sequence[str]) -> list[str]:
        mine = f"{owner.lower()}/" if owner else ""
        return [name for name in names if q.lower() in name.lower() and name.lower().startswith(mine)][:ALONE]

    return page(request, "lineage.html", **asked, verdict_names=VERDICTS, address=address, p=first // PER_PAGE,
                families=[_drawn(g, q) for g in wanted[first:first + PER_PAGE]], wanted=len(wanted), total=total,
                further=first + PER_PAGE < len(wanted), alone=named(alone), alone_count=len(alone), more=forest.more,
                unreadable=named(unreadable), unread=named(unread(app_of(request).trace, who.actor, UNREAD)),
                export=urlencode({k: asked[k] for k in ("owner", "verdict") if asked[k]}))


def _holds(names: Sequence[str], part: str) -> bool:
    return not part or any(part.lower() in name.lower() for name in names)


def _drawn(found: Group, q: str) -> Family:
    """Around the member that was asked for, else around the head; what is far from there is left out and counted."""
    centre = next((name for name in found.names if name.lower() == q.lower()), found.head)
    near = _near(found, centre)
    parents = {link.target: "both" if link.declared else "found" for link in found.links if link.ordered}
    members = [Member(name, parents.get(name, "")) for name in near]  # type: ignore[arg-type]
    ties = [Tie(link.source, link.target, ("declared" if link.declared else "weights") if link.ordered else "open",
                link.verdict, link.agreement) for link in found.links]
    drawing = draw(members, ties, centre)
    return Family(found, Drawing(drawing.width, drawing.height, drawing.boxes, drawing.lines, drawing.centre,
                                 drawing.left_out + len(found.names) - len(near)))


def _near(found: Group, centre: str) -> list[str]:
    beside: dict[str, list[str]] = {}
    for link in found.links:
        beside.setdefault(link.source, []).append(link.target)
        beside.setdefault(link.target, []).append(link.source)
    near, at = [centre], 0
    seen = {centre}
    while at < len(near) and len(near) < DRAWN:
        for name in beside.get(near[at], ()):
            if name not in seen and len(near) < DRAWN:
                seen.add(name)
                near.append(name)
        at += 1
    return near
