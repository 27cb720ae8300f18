"""Two models side by side: the verdict, what it rests on, layer by layer, and what the owners answer.

The judgement is of the two fingerprints, kept or made now; what a look at the whole files adds is shown when it has
been asked for. Nothing is said of a repo the visitor may not read.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from headwater.core.errors import BadInput, Forbidden, NotFound
from headwater.core.types import Access, Kind, Oid, Repo
from headwater.hub import Hub
from headwater.hub.access import access_to, find_repo, need_scope
from headwater.hub.browse import resolve
from headwater.trace import Trace
from headwater.trace.judgement import Judgement
from headwater.trace.lineage import dispute, disputes_of, judge_pair, read_again, status_of, with_proof
from headwater.trace.whole import enqueue, kin_by_whole, report_of
from headwater.web.heat import heat
from headwater.web.pages._descent import operations
from headwater.web.pages._repo import Place, PlaceDep, place, repo_page
from headwater.web.site import OWN_FORM, HubDep, Visitor, VisitorDep, app_of, go, segment

router = APIRouter()
NEURONS, TENSORS = 20, 80


@router.get("/{owner}/{name}/trace")
def chosen(hub: HubDep, who: VisitorDep, here: PlaceDep,
           other: Annotated[str, Query(alias="with", max_length=200)] = "") -> Response:
    """What the form that names another model leads to."""
    if not other.strip():
        return go(f"{here.url}/lineage")
    found = find_repo(hub, who.actor, Kind.MODEL, other.strip())
    return go(f"{here.url}/trace/{found.full_name}")


@router.get("/{owner}/{name}/trace/{with_owner}/{with_name}")
def pair(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep, with_owner: str, with_name: str) -> Response:
    trace: Trace = app_of(request).trace
    other = _other(hub, who, here, with_owner, with_name)
    first, second = (here.repo, here.commit.oid), (other, resolve(hub, other, "main").oid)
    unread = [(repo, status_of(trace, repo, at)) for repo, at in (first, second)]
    unread = [(repo, status) for repo, status in unread if status.state != "read"]
    data: dict[str, Any] = {"other": other, "revisions": (first[1], second[1]), "unread": unread, "said": None,
                            "may_answer": _may_answer(hub, who, here.repo, other),
                            "answers": _answers(trace, who, here, other)}
    if not unread:
        data |= _judged(trace, who, first, second)
    return repo_page(request, "trace_pair.html", hub, here, "lineage", **data)


def _judged(trace: Trace, who: Visitor, first: tuple[Repo, Oid], second: tuple[Repo, Oid]) -> dict[str, Any]:
    kept = [trace.records.at(*end) for end in (first, second)]
    assert kept[0] is not None and kept[1] is not None
    said = _known(trace, kept[0].id, kept[1].id) or judge_pair(trace, first, second)
    said = with_proof(trace, who.actor, (kept[0].id, kept[1].id), said)
    report = report_of(trace, kept[0].id, kept[1].id)
    said = (kin_by_whole(said, report, trace.null) if report is not None else None) or said
    child, parent, ordered = _ends(said, first[0].full_name, second[0].full_name)
    return {"said": said, "child": child, "parent": parent, "ordered": ordered, "heat": heat(said),
            "done": operations(who.words, said.operation),
            "whole": report, "neurons": report.neurons[:NEURONS] if report else (),
            "tensors": report.tensors[:TENSORS] if report else (),
            "comparing": report is None and _under_way(trace, first, second)}


def _under_way(trace: Trace, *ends: tuple[Repo, Oid]) -> bool:
    wanted = sorted([repo.id, at] for repo, at in ends)
    jobs = (job for state in ("running", "queued") for job in trace.jobs.list(state=state, kind="compare"))
    return any(sorted((job.payload["a"], job.payload["b"])) == wanted for job in jobs)


def _known(trace: Trace, one: int, other: int) -> Judgement | None:
    """What was judged when the later of the two came, if A and B are the same way round there."""
    edge = trace.records.edge(one, other)
    if edge is None or edge.a_id != one or one == other:
        return None
    return Judgement.from_json(edge.judgement)


def _ends(said: Judgement, a: str, b: str) -> tuple[str, str, bool]:
    """(child, parent, whether that is known)."""
    return (b, a, True) if said.direction == "b-from-a" else (a, b, said.direction == "a-from-b")


@router.post("/{owner}/{name}/trace/{with_owner}/{with_name}", dependencies=OWN_FORM)
def answer(request: Request, hub: HubDep, who: VisitorDep, owner: str, name: str, with_owner: str, with_name: str,
           do: Annotated[str, Form()], text: Annotated[str, Form()] = "") -> Response:
    need_scope(who.actor, Access.WRITE)
    here = place(request, hub, who, owner, name)
    other = _other(hub, who, here, with_owner, with_name)
    trace: Trace = app_of(request).trace
    if do == "answer":
        if not _may_answer(hub, who, here.repo, other):
            raise Forbidden("Only those who may write to one of the two models can answer.")
        dispute(trace, who.actor, here.repo, other, text.replace("\r\n", "\n"))
    elif do == "read":
        _read_both(hub, trace, who, here, other)
    elif do == "whole":
        enqueue(trace, (here.repo, here.commit.oid), (other, resolve(hub, other, "main").oid), by=who.actor.name)
    else:
        raise BadInput(f"There is nothing called {do[:40]!r} to do here.")
    return go(f"{here.url}/trace/{other.full_name}")


def _read_both(hub: Hub, trace: Trace, who: Visitor, here: Place, other: Repo) -> None:
    for repo, at in ((here.repo, here.commit.oid), (other, resolve(hub, other, "main").oid)):
        if status_of(trace, repo, at).state == "not-yet-read":
            read_again(trace, repo, at, by=who.actor.name)


def _other(hub: Hub, who: Visitor, here: Place, owner: str, name: str) -> Repo:
    found = find_repo(hub, who.actor, Kind.MODEL, f"{segment(owner)}/{segment(name)}")
    if found.id == here.repo.id:
        raise NotFound("The other model is this one.", hint="Name another.")
    return found


def _may_answer(hub: Hub, who: Visitor, *repos: Repo) -> bool:
    return any(access_to(hub, who.actor, repo).covers(Access.WRITE) for repo in repos)


def _answers(trace: Trace, who: Visitor, here: Place, other: Repo) -> list[dict[str, Any]]:
    names = {here.repo.full_name, other.full_name}
    return [one for one in disputes_of(trace, who.actor, here.repo) if {one["repo"], one["other"]} == names]
