"""llama.cpp made for this processor, and the fastest faithful form of a model. For administrators; both are jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from headwater.api.deps import ActorDep, HubDep, get_app, segment
from headwater.api.own.jobs import JobShown, shown
from headwater.chat import form
from headwater.chat.form_probe import BUILD_JOB, PROBE_JOB
from headwater.chat.models import find
from headwater.hub.access import need_admin

router = APIRouter(prefix="/api/headwater/engines", tags=["headwater: engines"])


class EngineShown(BaseModel):
    """name: of the engine or of a build made here. build: what receipts say. sha256: of the source a build was made
    of. usable: whether it runs on this processor. chosen: whether a worker started now runs it."""

    name: str
    build: str
    usable: bool
    chosen: bool
    removable: bool
    bytes: int | None = None
    sha256: str | None = None
    compiler: str | None = None
    problem: str | None = None


class FormAsked(BaseModel):
    """model: owner/name or owner/name@revision. smaller: try forms with fewer bits than the file has, too."""

    model: Annotated[str, Field(min_length=3, max_length=300)]
    smaller: bool = False


class FormShown(BaseModel):
    """form: the one that won, null for the repo's own. trials: what was measured of each."""

    build: str
    processor: str
    form: str | None
    bytes: int
    trials: list[dict[str, Any]]


class Forgotten(BaseModel):
    model: str
    done: bool


@router.get("")
def list_engines(request: Request, actor: ActorDep) -> list[EngineShown]:
    """Engines and the builds made here."""
    need_admin(actor)
    app = get_app(request)
    return [EngineShown(**one) for engine in app.chat.engines for one in _of(engine, app.settings)]


@router.post("/builds", status_code=202)
def build(hub: HubDep, actor: ActorDep) -> JobShown:
    """Compile llama.cpp for this processor, or answer the job that does. It goes on after a restart."""
    need_admin(actor)
    return shown(hub.jobs.enqueue(BUILD_JOB, {}, title="Build llama.cpp", by=actor.name, key=BUILD_JOB))


@router.delete("/builds/{name}")
def remove(name: str, request: Request, actor: ActorDep) -> EngineShown:
    """Delete a build. Workers that run it go on until they are unloaded."""
    need_admin(actor)
    app = get_app(request)
    gone = next(engine for engine in app.chat.engines if hasattr(engine, "remove_build")).remove_build(
        app.settings, segment(name))
    return EngineShown(**gone)


@router.post("/forms", status_code=202)
async def probe(asked: FormAsked, request: Request, hub: HubDep, actor: ActorDep) -> JobShown:
    """Measure ways to store a model's weights and keep the fastest that computes the same; for this processor and
    build. The result is the verdict with every trial."""
    need_admin(actor)
    model = await asyncio.to_thread(find, get_app(request).chat, actor, asked.model)
    return shown(hub.jobs.enqueue(PROBE_JOB, {"model": model.exact_name, "smaller": asked.smaller}, by=actor.name,
                                  title=f"Find the fastest form of {model.repo.full_name}",
                                  key=f"{PROBE_JOB} {model.exact_name} {asked.smaller}"))


@router.get("/forms/{owner}/{name}")
async def forms(owner: str, name: str, request: Request, actor: ActorDep) -> list[FormShown]:
    """What was found for a model, one verdict a build and processor."""
    need_admin(actor)
    found = await asyncio.to_thread(_verdicts, request, actor, f"{segment(owner)}/{segment(name)}")
    return [FormShown(**{field: one.get(field) for field in FormShown.model_fields}) for one in found.values()]


@router.delete("/forms/{owner}/{name}")
async def forget(owner: str, name: str, request: Request, actor: ActorDep) -> Forgotten:
    """Run the model as it is stored again, from its next load on."""
    need_admin(actor)
    model = f"{segment(owner)}/{segment(name)}"
    digest = await asyncio.to_thread(_digest, request, actor, model)
    done = digest is not None and await asyncio.to_thread(form.forget, get_app(request).settings, digest)
    return Forgotten(model=model, done=done)


def _of(engine: Any, settings: Any) -> list[dict[str, Any]]:
    if listed := getattr(engine, "builds", None):
        return listed(settings)
    why = engine.available()
    return [{"name": engine.name, "build": engine.build(), "usable": why is None, "chosen": why is None,
             "removable": False, "problem": why}]


def _digest(request: Request, actor: Any, name: str) -> str | None:
    chat = get_app(request).chat
    model = find(chat, actor, name)
    return form.digest_of(model, chat.lay_out(model.repo, model.commit))


def _verdicts(request: Request, actor: Any, name: str) -> dict[str, dict[str, Any]]:
    digest = _digest(request, actor, name)
    return form.verdicts(get_app(request).settings, digest) if digest else {}
