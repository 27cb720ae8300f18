"""`headwater doctor` over HTTP: is the hub well (for administrators), and would this model run (for its readers)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from headwater import __version__
from headwater.api.deps import ActorDep, HubDep, get_app, segment
from headwater.api.own import ROUTERS
from headwater.chat.models import find
from headwater.core.errors import HeadwaterError
from headwater.core.types import Kind
from headwater.hub.access import find_repo, need_admin
from headwater.hub.browse import resolve
from headwater.hub.doctor import Check, examine_hub, examine_model
from headwater.hub.imports import SOURCES

router = APIRouter(prefix="/api/headwater/doctor", tags=["headwater: doctor"])


class CheckShown(BaseModel):
    """state: ok, note (works, worth knowing) or bad. hint: the next step, or null."""

    name: str
    state: str
    says: str
    hint: str | None


class HubShown(BaseModel):
    """settings: values in force, secrets told only as set or not; sources: where each comes from."""

    version: str
    well: bool
    checks: list[CheckShown]
    settings: dict[str, Any]
    sources: dict[str, str]


class ModelShown(BaseModel):
    model: str
    revision: str
    well: bool
    checks: list[CheckShown]
    about: dict[str, Any]


@router.get("")
def examine(hub: HubDep, actor: ActorDep, app: Annotated[Any, Depends(get_app)]) -> HubShown:
    need_admin(actor)
    checks = [*examine_hub(hub), _database(app), *_engines(app), *_shelves(app)]
    return HubShown(version=__version__, well=_well(checks), checks=_shown(checks), settings=hub.settings.shown(),
                    sources=hub.settings.sources)


@router.get("/{owner}/{name}")
def examine_one(owner: str, name: str, hub: HubDep, actor: ActorDep, app: Annotated[Any, Depends(get_app)],
                revision: Annotated[str, Query(max_length=200)] = "main") -> ModelShown:
    repo = find_repo(hub, actor, Kind.MODEL, f"{segment(owner)}/{segment(name)}")
    commit = resolve(hub, repo, revision)
    checks, about = examine_model(hub, repo, commit)
    checks.append(_engine_of(app, actor, f"{repo.full_name}@{commit.oid}"))
    return ModelShown(model=repo.full_name, revision=commit.oid, well=_well(checks), checks=_shown(checks),
                      about=about)


def _database(app: Any) -> Check:
    try:
        return Check("database", "ok", app.archive.about())
    except HeadwaterError as error:
        return Check("database", "bad", error.message, error.hint)


def _engines(app: Any) -> list[Check]:
    found = []
    for engine in app.chat.engines:
        why = engine.available()
        found.append(Check(f"engine {engine.name}", "note" if why else "ok", why or engine.build()))
    return found


def _shelves(app: Any) -> list[Check]:
    broken = {f"{shelf.package}.{name}": why for shelf in (app.chat.engines, SOURCES, ROUTERS)
              for name, why in shelf.broken.items()}
    if not broken:
        return [Check("shelves", "ok", "Every file on the shelves loads.")]
    return [Check("shelves", "bad", f"{name} does not load: {why}", "Repair or remove that file.")
            for name, why in broken.items()]


def _engine_of(app: Any, actor: Any, name: str) -> Check:
    try:
        model = find(app.chat, actor, name)
    except HeadwaterError as error:
        return Check("engine", "note", error.message, error.hint)
    return Check("engine", "ok", f"{model.engine.name} would run {model.path} ({model.engine.build()}).")


def _well(checks: list[Check]) -> bool:
    return all(check.state != "bad" for check in checks)


def _shown(checks: list[Check]) -> list[CheckShown]:
    return [CheckShown(**asdict(check)) for check in checks]
