"""POST /api/generate: one prompt in Ollama's form, put through the model's template unless it is `raw`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import ConfigDict
from starlette.concurrency import run_in_threadpool

from headwater.api.deps import ActorDep, get_app
from headwater.api.ollama.chat import Answer, AskedBody, moment, pictures, read_asked
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import body_schema, read_body
from headwater.api.parameters import extras
from headwater.chat.models import find
from headwater.chat.types import ChatRequest, UnsupportedParameter
from headwater.core.errors import NotSignedIn

router = APIRouter(prefix="/api", tags=["Ollama"])


class GenerateBody(AskedBody):
    model_config = ConfigDict(strict=True, extra="allow", title="OllamaGenerateRequest")
    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None
    images: list[str] | None = None


async def generate_body(request: Request) -> GenerateBody:
    return await read_body(request, GenerateBody)


@router.post("/generate", openapi_extra={"requestBody": {"required": True, "content": {
    "application/json": {"schema": body_schema(GenerateBody)}}}})
async def generate(request: Request, actor: ActorDep, body: Annotated[GenerateBody, Depends(generate_body)]) -> Any:
    """Answer one prompt in Ollama's form. Without a prompt the model is loaded, and that is all."""
    if actor.account is None:
        raise NotSignedIn("Chat needs a token here.", hint="Make one with `headwater token create`.")
    chat = get_app(request).chat
    asked, warnings = _asked(body)
    if not body.prompt and not body.images:
        model = await run_in_threadpool(find, chat, actor, asked.model)
        async with chat.workers.hold(model, actor.name):
            return JSONResponse({"model": model.exact_name, "created_at": moment(time.time()), "response": "",
                                 "done": True, "done_reason": "load"})
    answer = _Generated(chat, actor, asked, warnings)
    return UntilHangup(answer.send_whole if body.stream is False else answer.send_stream)


def _asked(body: GenerateBody) -> tuple[ChatRequest, list[str]]:
    warnings = extras("ollama.generate", body)
    shown = pictures("images", body.images) if body.images else []
    said: Any = [*shown, {"type": "text", "text": body.prompt or ""}] if shown else body.prompt or ""
    system = [{"role": "system", "content": body.system}] if body.system else []
    asked, warnings = read_asked(body, [*system, {"role": "user", "content": said}], warnings)
    if not body.raw:
        return asked, warnings
    for name in ("system", "images", "format", "think"):
        if getattr(body, name):
            raise UnsupportedParameter(f"{name} has no place in a raw prompt, which has no template.", param=name,
                                       hint="Leave out raw.")
    return dataclasses.replace(asked, messages=(), prompt=body.prompt or "", switches=()), warnings


class _Generated(Answer):
    def said(self, text: str, thought: str = "", calls: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        return {"response": text, **({"thinking": thought} if thought else {})}
