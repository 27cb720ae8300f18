"""Which models are loaded, with what memory, and by hand: load, pin, unpin, unload. For administrators."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from headwater.api.deps import ActorDep, get_app, segment
from headwater.chat.models import find
from headwater.chat.types import ChatModel
from headwater.hub.access import need_admin

router = APIRouter(prefix="/api/headwater/chat/models", tags=["headwater: chat"])


class Loaded(BaseModel):
    """model: the exact revision. adapters: the LoRA adapters loaded with it, for requests that ask for them. state:
    loading, ready or leaving. memory_bytes: counted for it, the larger of what was planned and what its process
    holds. slots, context: answers at once, and tokens each may see. null: not known yet."""

    model: str
    engine: str
    adapters: list[str]
    state: str
    pinned: bool
    busy: int
    waiting: int
    memory_bytes: int | None
    slots: int | None
    context: int | None
    pid: int | None


class Done(BaseModel):
    model: str
    done: bool


@router.get("")
async def list_loaded(request: Request, actor: ActorDep) -> list[Loaded]:
    """Models loaded or loading now."""
    need_admin(actor)
    return [Loaded(**one) for one in get_app(request).chat.workers.loaded()]


@router.post("/{owner}/{name}/load")
async def load(owner: str, name: str, request: Request, actor: ActorDep) -> Done:
    """Load a model now: `owner/name` or `owner/name@revision`. Answers when it is loaded; unused, it goes again."""
    model = await _find(request, actor, owner, name)
    async with get_app(request).chat.workers.hold(model, actor.name):
        return Done(model=model.exact_name, done=True)


@router.post("/{owner}/{name}/pin")
async def pin(owner: str, name: str, request: Request, actor: ActorDep) -> Done:
    """Load a model and keep it loaded: `owner/name` or `owner/name@revision`. Answers when it is loaded."""
    model = await _find(request, actor, owner, name)
    await get_app(request).chat.workers.pin(model)
    return Done(model=model.exact_name, done=True)


@router.post("/{owner}/{name}/unpin")
async def unpin(owner: str, name: str, request: Request, actor: ActorDep) -> Done:
    """Let a model go again when nobody uses it."""
    model = await _find(request, actor, owner, name)
    get_app(request).chat.workers.unpin(model)
    return Done(model=model.exact_name, done=True)


@router.post("/{owner}/{name}/unload")
async def unload(owner: str, name: str, request: Request, actor: ActorDep) -> Done:
    """Let an idle model go now, pinned or not. done: false when it was not loaded; 409 while it answers."""
    model = await _find(request, actor, owner, name)
    return Done(model=model.exact_name, done=get_app(request).chat.workers.unload(model))


async def _find(request: Request, actor: Any, owner: str, name: str) -> ChatModel:
    need_admin(actor)
    return await asyncio.to_thread(find, get_app(request).chat, actor, f"{segment(owner)}/{segment(name)}")
