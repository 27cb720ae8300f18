"""LoRA adapters a request asks for: "owner/base+owner/adapter" in the model's name, or a list beside it.

Each is found with the rights of who asks, at a revision, and held against the model's header before anything is
loaded. docs/design/009-adapters-and-pictures.md says why so.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import Any

from headwater.chat import Chat
from headwater.chat.features import need
from headwater.chat.models import find
from headwater.chat.types import Adapter, ChatModel, ChatRequest, UnsupportedParameter
from headwater.core.types import Actor

ADAPTERS_MAX = 4
_PLUS = re.compile(r"\+(?=[^+@/]+/)")
"""A plus that begins a name; those inside a revision (v1+cpu) are part of it."""


async def find_with_adapters(chat: Chat, actor: Actor, request: ChatRequest) -> tuple[ChatModel, ChatRequest]:
    """The model with the adapters asked for, and the request with all of them in `adapters`, in the model's order.

    Raises ModelNotFound (also for an adapter), EngineFailed, UnsupportedParameter (no adapter, or it does not fit).
    """
    name, *added = _PLUS.split(request.model)
    asked = [(one, 1.0) for one in added] + list(request.adapters)
    model = await asyncio.to_thread(find, chat, actor, name)
    if not asked:
        return model, request
    need(model, "adapters", "model")
    if len(asked) > ADAPTERS_MAX:
        raise UnsupportedParameter(f"{len(asked)} adapters are asked for; at most {ADAPTERS_MAX} are taken.",
                                   param="model")
    adapters = await asyncio.to_thread(_resolve, chat, actor, model, [one for one, _ in asked])
    if len({(one.repo.id, one.commit.oid, one.path) for one in adapters}) < len(adapters):
        raise UnsupportedParameter("The same adapter is asked for twice.", param="model", hint="Give it one scale.")
    return (dataclasses.replace(model, adapters=tuple(adapters)),
            dataclasses.replace(request, model=name, adapters=tuple(asked)))


def _resolve(chat: Chat, actor: Actor, model: ChatModel, names: list[str]) -> list[Adapter]:
    base = Path(chat.lay_out(model.repo, model.commit).folder) / model.path
    found = []
    for name in names:
        repo, commit = chat.find_model(actor, name)
        path = model.engine.adapter(chat.list_files(commit))
        if path is None:
            raise UnsupportedParameter(f"{repo.full_name} has no LoRA adapter that {model.engine.name} loads.",
                                       param="model", hint="One in GGUF is, named lora-*.gguf or adapter-*.gguf.")
        file = Path(chat.lay_out(repo, commit).folder) / path
        if why := model.engine.adapter_misfit(base, file):
            raise UnsupportedParameter(f"{repo.full_name} does not go with {model.repo.full_name}: {why}",
                                       param="model", hint="Ask for it with the model it was made for.")
        found.append(Adapter(repo, commit, path))
    return found


def scales(loaded: ChatModel, asked: ChatModel, request: ChatRequest) -> list[dict[str, Any]]:
    """llama.cpp's `lora`: a scale for every adapter the worker has loaded, 0 for those not asked for. Always all of
    them: a request that names none would read what was kept of prompts read with another's."""
    wanted = {(one.repo.id, one.commit.oid, one.path): scale
              for one, (_, scale) in zip(asked.adapters, request.adapters, strict=True)}
    return [{"id": n, "scale": wanted.get((one.repo.id, one.commit.oid, one.path), 0.0)}
            for n, one in enumerate(loaded.adapters)]


def told(model: ChatModel, request: ChatRequest) -> tuple[dict[str, Any], ...]:
    """What a receipt says of them."""
    return tuple({"repo": one.repo.full_name, "revision": one.commit.oid, "file": one.path, "scale": scale}
                 for one, (_, scale) in zip(model.adapters, request.adapters, strict=True))
