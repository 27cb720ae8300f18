"""OpenAI's Responses: POST /v1/responses, and get, delete and cancel of those kept.

They are kept in memory, the newest KEPT_MAX of at most KEPT_BYTES together, and are gone when the hub restarts.
Each belongs to the account that asked; to all others it is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Send

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import ChatBody, body_schema, chat_request, read_body
from headwater.api.openai.response_items import Items, to_messages
from headwater.api.openai.tools import Malformed
from headwater.api.origin import origin_body, origin_headers, stream_headers
from headwater.api.parameters import extras
from headwater.chat import Chat
from headwater.chat.complete import complete
from headwater.chat.types import ChatRequest, Finished, Origin, Piece, Started, UnsupportedParameter
from headwater.core.errors import BadInput, HeadwaterError, NotFound, NotSignedIn
from headwater.core.types import Actor

log = logging.getLogger("headwater.http")
router = APIRouter(prefix="/v1", tags=["OpenAI"])
KEPT_MAX, KEPT_BYTES = 256, 32 * 1024 * 1024
TAKEN = ("temperature", "top_p", "parallel_tool_calls", "seed")
Tell = Callable[[dict[str, Any]], Awaitable[None]]


class ResponsesBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", title="ResponsesRequest")
    model: Annotated[str, Field(description="`owner/name`, or `owner/name@revision`", max_length=500)]
    input: str | list[Any]
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None


class _Response:
    """One response: its object as clients see it, whose it is, and what it was asked with."""

    def __init__(self, actor: Actor, body: ResponsesBody, messages: list[dict[str, Any]], warnings: list[str]):
        self.account, self.messages, self.warnings = actor.name, messages, warnings
        self.items, self.task = Items(), None
        self.origin: Origin | None = None
        self.size = len(json.dumps(messages))
        self.shown: dict[str, Any] = {
            "id": f"resp_{secrets.token_hex(16)}", "object": "response", "created_at": int(time.time()),
            "status": "in_progress", "background": bool(body.background), "error": None, "incomplete_details": None,
            "instructions": body.instructions, "max_output_tokens": body.max_output_tokens, "model": body.model,
            "output": self.items.output, "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id, "store": body.store is not False,
            "temperature": body.temperature, "top_p": body.top_p, "text": body.text or {"format": {"type": "text"}},
            "tool_choice": body.tool_choice or "auto", "tools": body.tools or [], "usage": None,
            "metadata": body.metadata or {}}

    async def run(self, chat: Chat, actor: Actor, asked: ChatRequest, tell: Tell) -> None:
        """Fills the response while it tells its events."""
        async with aclosing(complete(chat, actor, asked)) as events:
            async for event in events:
                match event:
                    case Started(origin):
                        self.origin = origin
                        self.shown["model"] = f"{origin.repo}@{origin.revision}"
                        self._from()
                        await tell({"type": "response.created", "response": self.shown})
                        await tell({"type": "response.in_progress", "response": self.shown})
                    case Piece():
                        for told in self.items.tell(event):
                            await tell(told)
                    case Finished():
                        for told in self._finish(event):
                            await tell(told)

    def fail(self, error: HeadwaterError) -> None:
        self.shown.update(status="failed", error={"code": "server_error", "message": str(error)})

    def _finish(self, event: Finished) -> list[dict[str, Any]]:
        self.warnings += event.warnings
        status = "incomplete" if event.reason == "length" else "completed"
        told = self.items.close(status)
        if event.reason == "length":
            self.shown["incomplete_details"] = {"reason": "max_output_tokens"}
        if used := event.usage:
            self.shown["usage"] = {
                "input_tokens": used.prompt_tokens, "output_tokens": used.completion_tokens,
                "total_tokens": used.total_tokens, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0}}
        self.shown["status"] = status
        self._from()
        self.size += len(json.dumps(self.items.output))
        return [*told, {"type": f"response.{status}", "response": self.shown}]

    def _from(self) -> None:
        self.shown.update(origin_body(self.origin, self.warnings))


class _Kept:
    """The newest responses, by id. Lives in one event loop."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, _Response] = OrderedDict()

    def add(self, response: _Response) -> None:
        self._all[response.shown["id"]] = response
        while len(self._all) > KEPT_MAX or sum(one.size for one in self._all.values()) > KEPT_BYTES:
            _, oldest = self._all.popitem(last=False)
            if oldest.task:
                oldest.task.cancel()

    def get(self, actor: Actor, name: str) -> _Response:
        response = self._all.get(name)
        if response is None or actor.account is None or response.account != actor.name:
            raise NotFound(f"No response {name[:100]!r} is kept here.",
                           hint=f"The newest {KEPT_MAX} are, in memory, until the hub restarts.")
        return response

    def drop(self, response: _Response) -> None:
        if response.task:
            response.task.cancel()
        self._all.pop(response.shown["id"], None)


def _kept(request: Request) -> _Kept:
    state = request.app.state
    if not hasattr(state, "kept_responses"):
        state.kept_responses = _Kept()
    return state.kept_responses


async def responses_body(request: Request) -> ResponsesBody:
    return await read_body(request, ResponsesBody)


@router.post("/responses", openapi_extra={"requestBody": {"required": True, "content": {
    "application/json": {"schema": body_schema(ResponsesBody)}}}})
async def create(request: Request, actor: ActorDep, body: Annotated[ResponsesBody, Depends(responses_body)]) -> Any:
    """Answer in OpenAI's Responses form: whole, as server-sent events, or in the background."""
    if actor.account is None:
        raise NotSignedIn("Responses need a token here.", hint="Make one with `headwater token create`.")
    kept, chat = _kept(request), get_app(request).chat
    asked, messages, warnings = _asked(kept, actor, body)
    response = _Response(actor, body, messages, warnings)
    keep = kept.add if body.store is not False else (lambda response: None)
    if body.background:
        kept.add(response)
        response.task = asyncio.create_task(_in_background(response, chat, actor, asked))
        return JSONResponse(response.shown)
    if body.stream:
        return UntilHangup(lambda send: _stream(send, response, chat, actor, asked, keep))
    return UntilHangup(lambda send: _whole(send, response, chat, actor, asked, keep))


@router.get("/responses/{name}")
async def get(name: str, request: Request, actor: ActorDep) -> Any:
    """A response that is kept, as far as it is."""
    return JSONResponse(_kept(request).get(actor, name).shown)


@router.delete("/responses/{name}")
async def delete(name: str, request: Request, actor: ActorDep) -> Any:
    """Forget a response; one still under way is stopped."""
    kept = _kept(request)
    kept.drop(kept.get(actor, name))
    return {"id": name, "object": "response", "deleted": True}


@router.post("/responses/{name}/cancel")
async def cancel(name: str, request: Request, actor: ActorDep) -> Any:
    """Stop a response in the background. One that has ended stays as it is."""
    response = _kept(request).get(actor, name)
    if response.task is None:
        raise BadInput("Only a response asked for with background=true can be cancelled.",
                       hint="Others stop when the client hangs up.")
    response.task.cancel()
    await asyncio.gather(response.task, return_exceptions=True)
    return JSONResponse(response.shown)


def _asked(kept: _Kept, actor: Actor, body: ResponsesBody) -> tuple[ChatRequest, list[dict[str, Any]], list[str]]:
    """(the request, its messages without the instructions, warnings). Chat's own checks hold here too."""
    if body.background and body.stream:
        raise UnsupportedParameter("A response in the background is not streamed.", param="background")
    messages = []
    if body.previous_response_id:
        before = kept.get(actor, body.previous_response_id)
        messages = [*before.messages, *to_messages(before.items.output)]
    messages += to_messages(body.input)
    said: dict[str, Any] = {"model": body.model, "messages": [
        *([{"role": "system", "content": body.instructions}] if body.instructions else []), *messages]}
    said |= {name: getattr(body, name) for name in TAKEN}
    said |= {"max_completion_tokens": body.max_output_tokens, "tools": _tools(body), "tool_choice": body.tool_choice,
             "response_format": _format(body)}
    try:
        asked, warnings = chat_request(ChatBody.model_validate(said))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise Malformed(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", str(first["loc"][0])) from None
    return asked, messages, warnings + extras("responses", body)


def _tools(body: ResponsesBody) -> list[Any] | None:
    """The flat function tools of this API in chat's form; others as they are, to be refused there."""
    return body.tools and [
        {"type": "function", "function": {k: tool.get(k) for k in ("name", "description", "parameters")}}
        if isinstance(tool, dict) and tool.get("type") == "function" else tool for tool in body.tools]


def _format(body: ResponsesBody) -> dict[str, Any] | None:
    said = (body.text or {}).get("format")
    if isinstance(said, dict) and said.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": said.get("schema")}}
    return said if isinstance(said, dict) else None


async def _nobody(event: dict[str, Any]) -> None:
    """Listens to a response that is not streamed."""


async def _whole(send: Send, response: _Response, chat: Chat, actor: Actor, asked: ChatRequest,
                 keep: Callable[[_Response], None]) -> None:
    await response.run(chat, actor, asked, _nobody)
    keep(response)
    answer = JSONResponse(response.shown, headers=origin_headers(response.origin))
    await send({"type": "http.response.start", "status": 200, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _stream(send: Send, response: _Response, chat: Chat, actor: Actor, asked: ChatRequest,
                  keep: Callable[[_Response], None]) -> None:
    number = 0

    async def tell(event: dict[str, Any]) -> None:
        nonlocal number
        if number == 0:
            headers = stream_headers(origin_headers(response.origin))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        data = json.dumps({**event, "sequence_number": number}, ensure_ascii=False)
        number += 1
        await send({"type": "http.response.body", "body": f"event: {event['type']}\ndata: {data}\n\n".encode(),
                    "more_body": True})

    try:
        await response.run(chat, actor, asked, tell)
        keep(response)
    except HeadwaterError as error:
        if number == 0:
            raise
        log.warning("an answer broke off: %s", error)
        response.fail(error)
        await tell({"type": "response.failed", "response": response.shown})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _in_background(response: _Response, chat: Chat, actor: Actor, asked: ChatRequest) -> None:
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await response.run(chat, actor, asked, _nobody)
            return
        response.shown["status"] = "cancelled"
    except HeadwaterError as error:
        response.fail(error)
