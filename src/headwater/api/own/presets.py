"""Presets: a system prompt, a model and how to sample, under a name of one's own. /api/headwater/presets."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from headwater.api.openai.request import body_schema, read_body
from headwater.api.own.conversations import ReaderDep, TalksDep, WriterDep
from headwater.core.errors import NotFound
from headwater.core.types import Preset
from headwater.talks.conversations import keep_preset

router = APIRouter(prefix="/api/headwater/presets", tags=["headwater: conversations"])


class PresetBody(BaseModel):
    """name, and whatever else is to be kept with it: system, model, temperature, top_p, max_tokens, seed …, 64 kB."""

    model_config = ConfigDict(strict=True, extra="allow", title="Preset")
    name: Annotated[str, Field(min_length=1, max_length=100)]


class PresetChanges(BaseModel):
    """Fields that are sent replace what is kept; null takes one away."""

    model_config = ConfigDict(strict=True, extra="allow", title="PresetChanges")
    name: Annotated[str | None, Field(min_length=1, max_length=100)] = None


async def preset_body(request: Request) -> PresetBody:
    return await read_body(request, PresetBody)


async def changes_body(request: Request) -> PresetChanges:
    return await read_body(request, PresetChanges)


def _takes(kind: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema(kind)}}}}


@router.get("")
def list_presets(talks: TalksDep, me: ReaderDep) -> dict[str, Any]:
    """By name."""
    return {"items": [_shown(one) for one in talks.conversations.presets(me)]}


@router.post("", status_code=201, openapi_extra=_takes(PresetBody))
def create_preset(talks: TalksDep, me: WriterDep, body: Annotated[PresetBody, Depends(preset_body)]) -> dict[str, Any]:
    """409 for a name in use."""
    return _shown(keep_preset(talks, me, None, body.name, body.model_extra or {}))


@router.patch("/{preset_id}", openapi_extra=_takes(PresetChanges))
def change_preset(preset_id: str, talks: TalksDep, me: WriterDep,
                  body: Annotated[PresetChanges, Depends(changes_body)]) -> dict[str, Any]:
    there = next((one for one in talks.conversations.presets(me) if one.id == preset_id), None)
    if there is None:
        raise NotFound("No such preset here.", hint="GET /api/headwater/presets lists yours.")
    kept = {name: value for name, value in {**there.body, **(body.model_extra or {})}.items() if value is not None}
    return _shown(keep_preset(talks, me, preset_id, body.name or there.name, kept))


@router.delete("/{preset_id}")
def delete_preset(preset_id: str, talks: TalksDep, me: WriterDep) -> dict[str, bool]:
    if len(preset_id) > 100 or not preset_id.isalnum() or not talks.conversations.delete_preset(me, preset_id):
        raise NotFound("No such preset here.", hint="GET /api/headwater/presets lists yours.")
    return {"deleted": True}


def _shown(preset: Preset) -> dict[str, Any]:
    return {**preset.body, "id": preset.id, "name": preset.name}
