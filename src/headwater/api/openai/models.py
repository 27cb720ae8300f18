"""GET /v1/models: what can be talked to, and the revision each name stands for now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from headwater.api.deps import ActorDep, get_app, segment
from headwater.chat.models import find, find_all
from headwater.chat.types import ChatModel

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.get("/models")
def list_models(request: Request, actor: ActorDep) -> dict[str, Any]:
    """Models an engine here can run, of those you may read."""
    return {"object": "list", "data": [_model(m, m.repo.full_name) for m in find_all(get_app(request).chat, actor)]}


@router.get("/models/{name:path}")
def get_model(name: str, request: Request, actor: ActorDep) -> dict[str, Any]:
    """One model: `owner/name`, or `owner/name@revision` with a branch, a tag or a commit."""
    name = segment(name)
    model = find(get_app(request).chat, actor, name)
    revision = name.partition("@")[2]
    return _model(model, f"{model.repo.full_name}@{revision}" if revision else model.repo.full_name)


def _model(model: ChatModel, name: str) -> dict[str, Any]:
    data = model.repo.card.data
    return {
        "id": name, "object": "model", "created": int(model.repo.created_at), "owned_by": model.repo.owner,
        "headwater": {"repo": model.repo.full_name, "revision": model.commit.oid, "engine": model.engine.name,
                      "build": model.engine.build(), "file": model.path,
                      "modalities": ["text", "image"] if model.projector else ["text"],
                      "license": data["license"] if isinstance(data.get("license"), str) else None},
    }
