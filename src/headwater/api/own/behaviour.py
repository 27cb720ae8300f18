"""Closed models held beside models of this hub, over HTTP: order, hand in the closed one's answers, see what they show.

The closed model is asked by the client, with a key that never comes here (`headwater trace NAME --api URL`).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from headwater.api.deps import ActorDep, HubDep, get_app
from headwater.api.own.jobs import JobShown
from headwater.api.own.jobs import shown as job_shown
from headwater.core.descent import Behaviour
from headwater.core.errors import Forbidden, NotFound
from headwater.core.types import Access, Actor, Kind, Oid, Repo
from headwater.hub import Hub
from headwater.hub.access import find_repo, need_scope
from headwater.hub.browse import resolve
from headwater.trace import closed as verbs
from headwater.trace.behaviour import MOST_PROMPTS, prompts
from headwater.trace.closed import Beside, Closed

router = APIRouter(prefix="/api/headwater/behaviour", tags=["headwater: lineage"])


def get_closed(app: Annotated[Any, Depends(get_app)]) -> Closed:
    return app.closed


ClosedDep = Annotated[Closed, Depends(get_closed)]
_Name = Annotated[str, Field(min_length=3, max_length=400)]


class ControlShown(BaseModel):
    """name: null for a model you may not read. agree: how many of its answers begin as the closed model's."""

    name: str | None
    agree: int | None


class BehaviourShown(BaseModel):
    """state: asking (answers of the closed model are missing: `given` of `prompts` are in), counting (the hub asks its
    own models), failed (`problem` says why), or done.

    Once it is done: agree of asked answers begin alike, interval (exact, 95 %), control (the most an unrelated model
    agrees, as a share), p (one-sided, against that one) and adjusted (for all `tests` of this closed model). alike: the
    adjusted p is at most 0.001. by: who asked the closed model; its answers are their word. weights: always "not seen".
    """

    id: str
    repo: str
    revision: str
    url: str
    model: str
    prompts: int
    given: int
    state: str
    problem: str | None
    job: str | None
    agree: int | None
    asked: int | None
    interval: tuple[float, float] | None
    control: float | None
    p: float | None
    adjusted: float | None
    alike: bool | None
    tests: int
    controls: list[ControlShown]
    weights: str
    says: str | None
    by: str
    at: float


class OrderShown(BehaviourShown):
    """questions: what to put to the closed model, in this order. missing: requests the hub still makes of its own
    models."""

    questions: list[str]
    missing: int


class OrderAsked(BaseModel):
    """repo: owner/name[@revision] of a model you may write to. url: where the closed model is asked, ending with
    /completions or /chat/completions; no key in it. controls: models not related to it, two at least; none: the hub
    takes those nearest in size that are no kin."""

    repo: _Name
    url: Annotated[str, Field(min_length=10, max_length=300)]
    model: Annotated[str, Field(min_length=1, max_length=200)]
    controls: Annotated[list[_Name], Field(max_length=verbs.CONTROLS_MAX)] = []
    prompts: Annotated[int, Field(ge=1, le=MOST_PROMPTS)] = 400


class AnswersAsked(BaseModel):
    """first: the number of the first question answered here, from 0."""

    first: Annotated[int, Field(ge=0, le=MOST_PROMPTS)]
    answers: Annotated[list[Annotated[str, Field(max_length=verbs.TEXT_MAX)]], Field(max_length=verbs.GIVEN_MAX)]


class GivenShown(BaseModel):
    given: int


@router.post("", status_code=201)
def order(asked: OrderAsked, hub: HubDep, closed: ClosedDep, actor: ActorDep) -> OrderShown:
    """Order a test, or go on with it: the same order keeps the answers that are in, for a week."""
    need_scope(actor, Access.WRITE)
    repo, at = _at(hub, actor, asked.repo, Access.WRITE)
    controls = [_at(hub, actor, name) for name in asked.controls]
    made = verbs.order(closed, actor, (repo, at), asked.url, asked.model, controls, asked.prompts)
    said = _shown(closed, actor, made, repo)
    return OrderShown(**said.model_dump(), questions=prompts(made.prompts),
                      missing=sum(verbs.missing(closed, made).values()))


@router.get("/{behaviour_id}")
def behaviour(behaviour_id: str, hub: HubDep, closed: ClosedDep, actor: ActorDep) -> BehaviourShown:
    """How far a test is, or what it found."""
    made, repo = _find(hub, closed, actor, behaviour_id)
    return _shown(closed, actor, made, repo)


@router.post("/{behaviour_id}/answers")
def answers(behaviour_id: str, asked: AnswersAsked, hub: HubDep, closed: ClosedDep, actor: ActorDep) -> GivenShown:
    """Hand in answers of the closed model, for whoever ordered it."""
    need_scope(actor, Access.WRITE)
    made, _ = _find(hub, closed, actor, behaviour_id, Access.WRITE)
    if made.by != actor.name:
        raise Forbidden("Nobody but whoever ordered it hands in answers.", hint="Order it yourself: POST …/behaviour.")
    return GivenShown(given=verbs.give(closed, made, asked.first, asked.answers))


@router.post("/{behaviour_id}/count", status_code=202)
def count(behaviour_id: str, hub: HubDep, closed: ClosedDep, actor: ActorDep) -> JobShown:
    """Have the hub ask its own models and count, once all answers of the closed one are in."""
    need_scope(actor, Access.WRITE)
    made, _ = _find(hub, closed, actor, behaviour_id, Access.WRITE)
    return job_shown(verbs.enqueue(closed, made))


@router.get("/of/{owner}/{name}")
def of_repo(owner: str, name: str, hub: HubDep, closed: ClosedDep, actor: ActorDep) -> list[BehaviourShown]:
    """All closed models held beside a model, newest first."""
    repo = find_repo(hub, actor, Kind.MODEL, f"{owner}/{name}")
    return [_told(one, repo) for one in verbs.beside(closed, actor, repo)]


def _at(hub: Hub, actor: Actor, name: str, need: Access = Access.READ) -> tuple[Repo, Oid]:
    full_name, _, revision = name.partition("@")
    repo = find_repo(hub, actor, Kind.MODEL, full_name, need)
    return repo, resolve(hub, repo, revision or "main").oid


def _find(hub: Hub, closed: Closed, actor: Actor, behaviour_id: str,
          need: Access = Access.READ) -> tuple[Behaviour, Repo]:
    made = closed.records.get(behaviour_id)
    repo = closed.trace.repos.get(made.repo_id) if made is not None else None
    if made is None or repo is None:
        raise NotFound("There is no such test.", hint="GET …/behaviour/of/{owner}/{name} lists those of a model.")
    return made, find_repo(hub, actor, Kind.MODEL, repo.full_name, need)


def _shown(closed: Closed, actor: Actor, made: Behaviour, repo: Repo) -> BehaviourShown:
    return _told(verbs.shown(closed, actor, made), repo)


def _told(one: Beside, repo: Repo) -> BehaviourShown:
    like = one.likeness
    found = {"agree": like.agree, "asked": like.asked, "interval": like.interval, "control": like.control, "p": like.p,
             "adjusted": like.adjusted, "alike": like.alike, "says": str(like.says)} if like else dict.fromkeys(
                 ("agree", "asked", "interval", "control", "p", "adjusted", "alike", "says"))
    plain = ("id", "revision", "url", "model", "prompts", "given", "state", "problem", "job", "tests", "weights", "by",
             "at")
    return BehaviourShown(repo=repo.full_name, **{name: getattr(one, name) for name in plain}, **found,
                          controls=[ControlShown(name=name, agree=agree) for name, agree in one.controls])
