"""GET /api/tags, /api/ps, /api/version and POST /api/show: the models there are, in Ollama's form.

What no file says is left empty: Ollama's form has no word for "not known".
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from headwater import __version__
from headwater.api.deps import ActorDep, HubDep, get_app
from headwater.api.ollama.chat import moment
from headwater.api.openai.request import body_schema, read_body
from headwater.chat.models import find, find_all
from headwater.chat.types import ChatModel
from headwater.hub.facts import Facts, facts

router = APIRouter(prefix="/api", tags=["Ollama"])


class ShowBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", title="OllamaShowRequest")
    model: Annotated[str, Field(description="`owner/name`, or `owner/name@revision`", max_length=500)]


async def show_body(request: Request) -> ShowBody:
    return await read_body(request, ShowBody)


@router.get("/version")
def version() -> dict[str, str]:
    """Headwater's own version."""
    return {"version": __version__}


@router.get("/tags")
def tags(request: Request, actor: ActorDep) -> dict[str, Any]:
    """Models an engine here can run, of those you may read, in Ollama's form."""
    return {"models": [{**_named(model), "size": model.repo.size_bytes} for model in find_all(
        get_app(request).chat, actor)]}


@router.get("/ps")
async def loaded(request: Request, actor: ActorDep) -> dict[str, Any]:
    """Models loaded now, of those you may read. expires_at: when it goes if nobody uses it from now on."""
    from starlette.concurrency import run_in_threadpool

    chat = get_app(request).chat
    known = {model.repo.full_name: model for model in await run_in_threadpool(find_all, chat, actor)}
    there = [(known[name], one) for one in chat.workers.loaded()
             if one["state"] == "ready" and (name := one["model"].partition("@")[0]) in known]
    until = moment(time.time() + chat.settings.worker_idle_s)
    return {"models": [{**_named(model), "size": one["memory_bytes"] or 0, "size_vram": 0, "expires_at": until,
                        "digest": one["model"].partition("@")[2], "context_length": one["context"] or 0}
                       for model, one in there]}


@router.post("/show", openapi_extra={"requestBody": {"required": True, "content": {
    "application/json": {"schema": body_schema(ShowBody)}}}})
def show(request: Request, hub: HubDep, actor: ActorDep, body: Annotated[ShowBody, Depends(show_body)]) -> Any:
    """What the files of a model say of it, in Ollama's form."""
    model = find(get_app(request).chat, actor, body.model.removesuffix(":latest"))
    found = facts(hub, model.repo, model.commit)
    about = found.description
    template = about.chat_template.text if about.chat_template else ""
    return {"modelfile": f"FROM {model.exact_name}\n", "parameters": "", "template": template,
            "license": about.licence or "", "modified_at": moment(model.commit.created_at),
            "details": _details(model, found), "model_info": _info(found),
            "capabilities": _capabilities(model, template)}


def _named(model: ChatModel) -> dict[str, Any]:
    return {"name": model.repo.full_name, "model": model.repo.full_name, "digest": model.commit.oid,
            "modified_at": moment(model.commit.created_at), "details": _details(model, None)}


def _details(model: ChatModel, found: Facts | None) -> dict[str, Any]:
    """found None: of a list, for which no file is read."""
    about = found.description if found else None
    family, size = (about.family or "", about.parameters) if about else ("", None)
    return {"parent_model": "", "format": model.path.rpartition(".")[2], "family": family,
            "families": [family] if family else [], "parameter_size": f"{size / 1e6:.1f}M" if size else "",
            "quantization_level": (about.quantisation or about.dtype or "") if about else ""}


def _info(found: Facts) -> dict[str, Any]:
    """By GGUF's names, whatever the format is."""
    about, name = found.description, found.description.family or "model"
    info = {"general.architecture": about.family, "general.parameter_count": about.parameters,
            f"{name}.context_length": about.context_length, f"{name}.embedding_length": about.hidden_size,
            f"{name}.block_count": about.layers, f"{name}.attention.head_count": about.heads,
            f"{name}.attention.head_count_kv": about.kv_heads, f"{name}.expert_count": about.experts,
            f"{name}.vocab_size": about.vocabulary}
    return {key: value for key, value in info.items() if value is not None}


def _capabilities(model: ChatModel, template: str) -> list[str]:
    features = getattr(model.engine, "features", ())
    return ["completion", *(["tools"] if "tools" in features and "tools" in template else []),
            *(["vision"] if model.projector else []), *(["thinking"] if "<think>" in template else [])]
