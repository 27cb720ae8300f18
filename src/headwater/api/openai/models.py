"""GET /v1/models: what can be talked to, what each is, and the revision each name stands for now.

`headwater` says more than OpenAI's object: null stands for what is not known, or, in the list, not read yet.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request

from headwater.api.deps import ActorDep, get_app, segment
from headwater.chat.models import find, find_all
from headwater.chat.types import ChatModel
from headwater.core.types import Actor
from headwater.hub import Hub
from headwater.hub.facts import facts
from headwater.hub.speech import speech
from headwater.trace import Trace
from headwater.trace.lineage import lineage_of

router = APIRouter(prefix="/v1", tags=["OpenAI"])
READ_S = 1.0
"""How long a list reads headers of models it has not seen yet; the rest of them say null, until the next list."""


@router.get("/models")
def list_models(request: Request, actor: ActorDep) -> dict[str, Any]:
    """Models an engine here can run, of those you may read. lineage: ask for the model itself."""
    app, until = get_app(request), time.monotonic() + READ_S
    loaded = {one["model"]: one for one in app.chat.workers.loaded()}
    return {"object": "list", "data": [
        _model(model, model.repo.full_name, loaded, _read(app.hub, model) if time.monotonic() < until else UNREAD)
        for model in find_all(app.chat, actor)]}


@router.get("/models/{name:path}")
def get_model(name: str, request: Request, actor: ActorDep) -> dict[str, Any]:
    """One model: `owner/name`, or `owner/name@revision` with a branch, a tag or a commit."""
    name, app = segment(name), get_app(request)
    model = find(app.chat, actor, name)
    revision = name.partition("@")[2]
    loaded = {one["model"]: one for one in app.chat.workers.loaded()}
    read = _read(app.hub, model)
    if read["template"] is None and (heard := speech(app.hub, model.repo, model.commit)) and heard.template:
        read = {**read, "template": heard.template.source}
    told = _model(model, f"{model.repo.full_name}@{revision}" if revision else model.repo.full_name, loaded, read)
    told["headwater"]["lineage"] = _lineage(app.trace, actor, model)
    return told


UNREAD: dict[str, Any] = {"context_length": None, "template": None, "parameters": None}


def _model(model: ChatModel, name: str, loaded: dict[str, dict[str, Any]], read: dict[str, Any]) -> dict[str, Any]:
    """loaded: how it stands in this hub now, or null. context_length: what it was made for; loaded.context: what
    one answer may see now. template: the file that says how it is spoken with."""
    data, now = model.repo.card.data, loaded.get(model.exact_name)
    shown = ("state", "pinned", "memory_bytes", "slots", "context")
    return {
        "id": name, "object": "model", "created": int(model.repo.created_at), "owned_by": model.repo.owner,
        "headwater": {"repo": model.repo.full_name, "revision": model.commit.oid, "engine": model.engine.name,
                      "build": model.engine.build(), "file": model.path,
                      "modalities": ["text", "image"] if model.projector else ["text"],
                      "license": data["license"] if isinstance(data.get("license"), str) else None,
                      "size_bytes": model.repo.size_bytes, **read, "lineage": None,
                      "loaded": {key: now[key] for key in shown} if now else None},
    }


def _read(hub: Hub, model: ChatModel) -> dict[str, Any]:
    """What its own headers and small files say."""
    said = facts(hub, model.repo, model.commit).description
    return {"context_length": said.context_length, "template": said.chat_template and said.chat_template.source,
            "parameters": said.parameters}


def _lineage(trace: Trace, actor: Actor, model: ChatModel) -> dict[str, Any]:
    """state: read, or why nothing is known: not-yet-read, waiting, reading, cannot-read, no-weights. closest: the
    nearest kin of those the asker may see, or null."""
    family = lineage_of(trace, actor, model.repo, model.commit.oid)
    kin = family.closest
    return {"state": family.status.state, "closest": kin and {
        "model": f"{kin.repo}@{kin.revision}", "verdict": kin.verdict, "order": kin.order, "agreement": kin.agreement}}
