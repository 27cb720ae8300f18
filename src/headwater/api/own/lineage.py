"""Where models come from, over HTTP: one model's family, a pair, the whole tree, and what people answer to it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from headwater.api.deps import ActorDep, HubDep, get_app, segment
from headwater.api.own.jobs import JobShown, shown
from headwater.core.errors import BadInput, Forbidden, TooLarge
from headwater.core.types import Access, Actor, Commit, Kind, Oid, Repo
from headwater.hub import Hub
from headwater.hub.access import access_to, find_repo, need_scope
from headwater.hub.browse import resolve
from headwater.hub.declare import declare_base
from headwater.trace import Trace, lineage, whole
from headwater.trace.fingerprint import MAX_BYTES
from headwater.trace.forest import NODES_MAX, forest_of, graphml
from headwater.trace.judgement import Verdict
from headwater.trace.work import finite

router = APIRouter(prefix="/api/headwater/lineage", tags=["headwater: lineage"])

_Revision = Annotated[str, Query(max_length=200)]
_Name = Annotated[str, Query(min_length=3, max_length=400)]


def get_trace(app: Annotated[Any, Depends(get_app)]) -> Trace:
    return app.trace


TraceDep = Annotated[Trace, Depends(get_trace)]


class StatusShown(BaseModel):
    """state: not-yet-read, waiting, reading, read, cannot-read or no-weights. problem: why it cannot be read, or why
    the last try broke off. version: of the fingerprint."""

    state: str
    done: int
    total: int | None
    unit: str
    stage: str
    problem: str | None
    job: str | None
    version: int | None
    at: float | None


class RelativeShown(BaseModel):
    """order: parent or child of the model asked for, or open; order_by: weights, tree, declared, or
    empty. direct: no third model is seen between the two. share: of the parent in the child, where the child is proved
    a sum of several. a, b: whom the
    judgement means by A and B. also: other repos with the same files. judgement: verdict, direction, agreement, null
    (n, max, as_high), layers (layer of a, of b, agreement), table (layers of a by layers of b), evidence, operation."""

    repo: str
    revision: str
    verdict: str
    order: str
    order_by: str
    direct: bool
    share: float | None
    agreement: float | None
    declared: bool
    a: str
    b: str
    judgement: dict[str, Any]
    also: list[str]
    at: float


class DeclaredShown(BaseModel):
    """What the card says. state: confirmed, not-seen, open, not-read or not-here."""

    name: str
    relation: str | None
    state: str


class DutyShown(BaseModel):
    """checked: whether the licence's text was read for this table. No legal advice."""

    licence: str
    title: str
    of: list[str]
    asks: list[str]
    checked: bool
    source: str


class DutiesShown(BaseModel):
    duties: list[DutyShown]
    conflicts: list[str]
    unknown: list[str]


class DisputeShown(BaseModel):
    id: int
    repo: str
    other: str
    by: str
    text: str
    at: float


class TieShown(BaseModel):
    """Two who stand next to each other in the family's tree. order: weights, tree, declared, or open."""

    parent: str
    child: str
    order: str
    verdict: str
    agreement: float | None


class CloserShown(BaseModel):
    """job: compares whole files with those of models of its shape, or waits to; null when none does. compared: the
    models that was done with."""

    job: str | None
    compared: list[str]


class FamilyShown(BaseModel):
    """closest: the nearest kin not known to be a child: the parent as far as can be told. kin: those whose order is
    open. undeclared: parents the card does not name. offer: what the card could say, for POST …/card, or null. closer:
    of a model without kin, or null."""

    repo: str
    revision: str
    status: StatusShown
    fingerprint: dict[str, Any] | None
    parents: list[RelativeShown]
    children: list[RelativeShown]
    kin: list[RelativeShown]
    same: list[str]
    closest: RelativeShown | None
    declared: list[DeclaredShown]
    undeclared: list[str]
    nearest_unrelated: RelativeShown | None
    duties: DutiesShown
    offer: dict[str, Any] | None
    disputes: list[DisputeShown]
    ties: list[TieShown]
    closer: CloserShown | None


class WholeShown(BaseModel):
    """What the whole files show. agreement: of the median layer, all its neurons; null where they cannot be matched.
    layers: a, b, agreement, control (what chance gives), of. neurons: the best matched, with the words they read and
    write. tensors: role, layers, shape, dtypes, cosine, change (norm of the difference over a's), rank of rank_of,
    rederived, lattice, scale. verdict, says, told (what `says` was made of), operation: with this added to the
    judgement. merge: child (a or b), shares by part, residual, nearest, where one is proved a sum of models of which
    the other is one."""

    agreement: float | None
    layers: list[dict[str, Any]]
    neurons: list[dict[str, Any]]
    tensors: list[dict[str, Any]]
    evidence: list[dict[str, Any]]
    verdict: str
    says: str
    told: list[Any] | None
    operation: str | None
    merge: dict[str, Any] | None


class PairShown(BaseModel):
    """a, b: repo@revision. whole: null while the whole files were not compared. The rest as `headwater trace A B
    --json` prints it."""

    a: str
    b: str
    verdict: str
    direction: str
    agreement: float | None
    null: dict[str, Any]
    layers: list[Any]
    evidence: list[dict[str, Any]]
    judgement: dict[str, Any]
    whole: WholeShown | None


class PairAsked(BaseModel):
    """a, b: owner/name or owner/name@revision. again: also if they were compared."""

    a: Annotated[str, Field(min_length=3, max_length=400)]
    b: Annotated[str, Field(min_length=3, max_length=400)]
    again: bool = False


class MatchShown(BaseModel):
    repo: str
    revision: str
    judgement: dict[str, Any]


class ForestShown(BaseModel):
    """edges: from parent to child where ordered. more: whether models were left out beyond the limit."""

    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]
    more: bool


class DisputeAsked(BaseModel):
    """other: owner/name of the model on the other side."""

    other: Annotated[str, Field(min_length=3, max_length=400)]
    text: Annotated[str, Field(min_length=1, max_length=lineage.TEXT_MAX)]


class CardAsked(BaseModel):
    """What to write into the card. base_model_relation null leaves it out."""

    base_model: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=20)]
    base_model_relation: Annotated[str | None, Field(max_length=40, pattern=r"^[a-z_-]+$")] = None


class CardShown(BaseModel):
    revision: str


@router.get("", responses={200: {"content": {"application/graphml+xml": {}}}}, response_model=ForestShown)
def whole_tree(trace: TraceDep, actor: ActorDep, owner: Annotated[str | None, Query(max_length=200)] = None,
               verdict: Verdict | None = None, agreement: Annotated[float, Query(ge=0, le=1)] = 0.0,
               limit: Annotated[int, Query(ge=1, le=NODES_MAX)] = 1000,
               form: Literal["json", "graphml"] = "json") -> Any:
    """Every model you may read, and the edges between them. agreement: the least to show."""
    found = forest_of(trace, actor, owner=owner, verdict=verdict, at_least=agreement, limit=limit)
    if form == "graphml":
        return StreamingResponse(graphml(found), media_type="application/graphml+xml",
                                 headers={"content-disposition": 'attachment; filename="lineage.graphml"'})
    return ForestShown(nodes=[asdict(node) for node in found.nodes],
                       edges=[asdict(link) for link in found.links], more=found.more)


@router.get("/pair")
def pair(a: _Name, b: _Name, hub: HubDep, trace: TraceDep, actor: ActorDep) -> PairShown:
    """Judge two models now. a, b: owner/name or owner/name@revision."""
    first, second = _at(hub, actor, a), _at(hub, actor, b)
    judgement = lineage.judge_pair(trace, first, second)
    said = finite(judgement.as_json())
    names = [f"{repo.full_name}@{revision}" for repo, revision in (first, second)]
    deeper = whole.whole_of(trace, actor, first, second, judgement)
    return PairShown(a=names[0], b=names[1], judgement=said, whole=WholeShown(**deeper) if deeper else None,
                     **{key: said[key] for key in ("verdict", "direction", "agreement", "null", "layers", "evidence")})


@router.post("/pair/compare", status_code=202)
def compare(asked: PairAsked, hub: HubDep, trace: TraceDep, actor: ActorDep) -> JobShown:
    """Have the whole files of two models compared: all neurons of corresponding layers, tensor beside tensor. What is
    found is kept, and GET …/pair has it under `whole`. Answers the job, or the one that is at it."""
    need_scope(actor, Access.WRITE)
    first, second = _at(hub, actor, asked.a), _at(hub, actor, asked.b)
    for repo, revision in (first, second):
        lineage.fingerprint_of(trace, repo, revision)
    return shown(whole.enqueue(trace, first, second, by=actor.name, again=asked.again))


@router.post("/find", openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {
    "schema": {"type": "string", "format": "binary"}}}}})
async def find(request: Request, trace: TraceDep, actor: ActorDep) -> list[MatchShown]:
    """What a fingerprint made elsewhere (the body) is kin to here, nearest first, and the nearest that is not."""
    from starlette.concurrency import run_in_threadpool

    need_scope(actor, Access.READ)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > 2 * MAX_BYTES:
            raise TooLarge(f"A fingerprint has at most {2 * MAX_BYTES:,} bytes.")
    found = await run_in_threadpool(lineage.find_kin, trace, actor, bytes(body))
    return [MatchShown(repo=m.repo, revision=m.revision, judgement=finite(m.judgement.as_json()))
            for m in found]


@router.get("/{owner}/{name}")
def family(owner: str, name: str, hub: HubDep, trace: TraceDep, actor: ActorDep,
           revision: _Revision = "main") -> FamilyShown:
    """What is known of a model's descent. Of models you may not read nothing is told."""
    repo, at = _named(hub, actor, owner, name, revision)
    return FamilyShown(**asdict(lineage.lineage_of(trace, actor, repo, at.oid)))


@router.get("/{owner}/{name}/fingerprint", response_class=Response,
            responses={200: {"content": {"application/octet-stream": {}}}})
def fingerprint(owner: str, name: str, hub: HubDep, trace: TraceDep, actor: ActorDep,
                revision: _Revision = "main") -> Response:
    """The fingerprint itself, for `headwater trace` to judge on another machine."""
    repo, at = _named(hub, actor, owner, name, revision)
    return Response(lineage.fingerprint_of(trace, repo, at.oid), media_type="application/octet-stream")


@router.post("/{owner}/{name}/read", status_code=202)
def read(owner: str, name: str, hub: HubDep, trace: TraceDep, actor: ActorDep,
         revision: _Revision = "main") -> JobShown:
    """Have the weights read (again) and compared, or answer the job that is at it."""
    need_scope(actor, Access.WRITE)
    repo, at = _named(hub, actor, owner, name, revision)
    return shown(lineage.read_again(trace, repo, at.oid, by=actor.name))


@router.post("/{owner}/{name}/disputes", status_code=201)
def dispute(owner: str, name: str, asked: DisputeAsked, hub: HubDep, trace: TraceDep, actor: ActorDep) -> DisputeShown:
    """Answer to what is said of this model and another. For those who may write to one of the two."""
    need_scope(actor, Access.WRITE)
    repo, _ = _named(hub, actor, owner, name, "main")
    other = find_repo(hub, actor, Kind.MODEL, asked.other)
    if not any(access_to(hub, actor, one).covers(Access.WRITE) for one in (repo, other)):
        raise Forbidden("Only those who may write to one of the two models can answer.")
    if other.id == repo.id:
        raise BadInput("The other model is this one.", hint="Name the model on the other side of the edge.")
    kept = lineage.dispute(trace, actor, repo, other, asked.text)
    return DisputeShown(id=kept.id, repo=repo.full_name, other=other.full_name, by=kept.by, text=kept.text, at=kept.at)


@router.post("/{owner}/{name}/card", status_code=201)
def card(owner: str, name: str, asked: CardAsked, hub: HubDep, actor: ActorDep) -> CardShown:
    """Write base_model into the card, as a commit of yours on main. Nothing else of the card is touched."""
    repo = find_repo(hub, actor, Kind.MODEL, f"{segment(owner)}/{segment(name)}", Access.WRITE)
    made = declare_base(hub, actor, repo, asked.base_model, asked.base_model_relation)
    return CardShown(revision=made.oid)


def _named(hub: Hub, actor: Actor, owner: str, name: str, revision: str) -> tuple[Repo, Commit]:
    repo = find_repo(hub, actor, Kind.MODEL, f"{segment(owner)}/{segment(name)}")
    return repo, resolve(hub, repo, revision)


def _at(hub: Hub, actor: Actor, name: str) -> tuple[Repo, Oid]:
    full_name, _, revision = name.partition("@")
    repo = find_repo(hub, actor, Kind.MODEL, full_name)
    return repo, resolve(hub, repo, revision or "main").oid
