"""OpenAI's Responses: POST /v1/responses; get, delete, cancel and input items of those kept (response_keeper.py)."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Send

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.attach import show_response_files
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import ChatBody, body_schema, chat_request, read_body
from headwater.api.openai.response_items import to_messages
from headwater.api.openai.response_keeper import Keeper
from headwater.api.openai.response_made import MadeResponse
from headwater.api.openai.tools import Malformed
from headwater.api.origin import origin_body, origin_headers
from headwater.api.parameters import Ignored, extras, ignored_headers
from headwater.api.stream import Stream, Waited
from headwater.chat import Chat
from headwater.chat.types import ChatRequest, UnsupportedParameter
from headwater.core.errors import BadInput, HeadwaterError, NotSignedIn
from headwater.core.types import Actor
from headwater.talks import Talks

log = logging.getLogger("headwater.http")
router = APIRouter(prefix="/v1", tags=["OpenAI"])
TAKEN = ("temperature", "top_p", "parallel_tool_calls", "seed")
ENDS = ("response.completed", "response.incomplete")
Keep = Callable[[], Awaitable[None]]


class InputTokensBody(BaseModel):
    """What says how long the input is. Everything not named here lands in model_extra."""

    model_config = ConfigDict(strict=True, extra="allow", title="InputTokensRequest")
    model: Annotated[str, Field(description="`owner/name`, or `owner/name@revision`", max_length=500)]
    input: str | Annotated[list[Any], Field(max_length=10_000)]
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=200)] | None = None
    parallel_tool_calls: bool | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None


class ResponsesBody(InputTokensBody):
    model_config = ConfigDict(strict=True, extra="allow", title="ResponsesRequest")
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    include: list[str] | None = None
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] | None = None


def _described(kind: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema(kind)}}}}


async def count_body(request: Request) -> InputTokensBody:
    return await read_body(request, InputTokensBody)


async def responses_body(request: Request) -> ResponsesBody:
    return await read_body(request, ResponsesBody)


@router.post("/responses", openapi_extra=_described(ResponsesBody))
async def create(request: Request, actor: ActorDep, body: Annotated[ResponsesBody, Depends(responses_body)]) -> Any:
    """Answer in OpenAI's Responses form: whole, as server-sent events, or in the background."""
    keeper, chat = _signed_in(request, actor), get_app(request).chat
    if body.background and body.stream:
        raise UnsupportedParameter("A response in the background is not streamed.", param="background")
    asked, items, warnings = await _asked(keeper, actor, body, get_app(request).talks)
    response = MadeResponse(_echo(body), items, warnings)
    if body.background:
        await keeper.begin(actor, response, lambda: response.run(chat, actor, asked, _nobody))
        return JSONResponse(response.shown)

    async def keep() -> None:
        if body.store is not False:
            await keeper.add(actor, response)

    work = _stream if body.stream else _whole
    return UntilHangup(lambda send: work(send, response, chat, actor, asked, keep))


@router.post("/responses/input_tokens", openapi_extra=_described(InputTokensBody))
async def count(request: Request, actor: ActorDep, body: Annotated[InputTokensBody, Depends(count_body)]) -> Any:
    """How many tokens the input is to its model, counted by the model: it reads it and says one token."""
    keeper = _signed_in(request, actor)
    asked, _, warnings = await _asked(keeper, actor, body, get_app(request).talks)
    response = MadeResponse(_echo(body), [], warnings)
    one = dataclasses.replace(asked, max_tokens=1)

    async def work(send: Send) -> None:
        await response.run(get_app(request).chat, actor, one, _nobody)
        told = {"object": "response.input_tokens", "input_tokens": (response.shown["usage"] or {}).get("input_tokens"),
                **origin_body(response.origin, warnings)}
        answer = JSONResponse(told, headers=origin_headers(response.origin))
        await send({"type": "http.response.start", "status": 200, "headers": answer.raw_headers})
        await send({"type": "http.response.body", "body": answer.body})

    return UntilHangup(work)


@router.get("/responses/{name}")
async def get(name: str, request: Request, actor: ActorDep, stream: bool = False) -> Any:
    """A response that is kept, as far as it is."""
    if stream:
        raise UnsupportedParameter("A response that is kept is not streamed again.", param="stream",
                                   hint="Ask for it whole, again and again while it is in progress.")
    return JSONResponse((await _signed_in(request, actor).get(actor, name)).shown)


@router.get("/responses/{name}/input_items")
async def input_items(name: str, request: Request, actor: ActorDep, after: str | None = None,
                      limit: Annotated[int, Query(ge=1, le=100)] = 20,
                      order: Literal["asc", "desc"] = "desc") -> Any:
    """What a response answers: its own input after that of the responses before it, and their output."""
    items = (await _signed_in(request, actor).get(actor, name)).items
    items = items if order == "asc" else items[::-1]
    names = [item["id"] for item in items]
    if after is not None and after not in names:
        raise Malformed(f"after: no item {after[:100]!r}.", "after")
    start = 0 if after is None else names.index(after) + 1
    page = items[start:start + limit]
    return JSONResponse({"object": "list", "data": page, "first_id": page[0]["id"] if page else None,
                         "last_id": page[-1]["id"] if page else None, "has_more": start + limit < len(items)})


@router.delete("/responses/{name}")
async def delete(name: str, request: Request, actor: ActorDep) -> Any:
    """Forget a response; one still under way is stopped."""
    await _signed_in(request, actor).delete(actor, name)
    return {"id": name, "object": "response", "deleted": True}


@router.post("/responses/{name}/cancel")
async def cancel(name: str, request: Request, actor: ActorDep) -> Any:
    """Stop a response in the background. One that has ended stays as it is."""
    return JSONResponse(await _signed_in(request, actor).cancel(actor, name))


def _signed_in(request: Request, actor: Actor) -> Keeper:
    if actor.account is None:
        raise NotSignedIn("Responses need a token here.", hint="Make one with `headwater token create`.")
    return get_app(request).responses


def _echo(body: InputTokensBody) -> dict[str, Any]:
    """What the response repeats of what was asked."""
    said = {name: getattr(body, name, None) for name in (
        "instructions", "max_output_tokens", "model", "previous_response_id", "temperature", "top_p")}
    return {**said, "background": bool(getattr(body, "background", None)),
            "metadata": getattr(body, "metadata", None) or {},
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "store": getattr(body, "store", None) is not False, "text": body.text or {"format": {"type": "text"}},
            "tool_choice": body.tool_choice or "auto", "tools": body.tools or []}


async def _asked(keeper: Keeper, actor: Actor, body: InputTokensBody,
                 talks: Talks) -> tuple[ChatRequest, list[dict[str, Any]], list[str]]:
    """(the request, its items without the instructions, warnings). Chat's own checks hold here too."""
    items = []
    if body.previous_response_id:
        before = await keeper.get(actor, body.previous_response_id)
        if before.shown["status"] == "in_progress":
            raise BadInput(f"{before.id} is still in progress.", hint="Go on with it when it has ended.")
        items = [*before.items, *before.shown["output"]]
    items += to_items(body.input)
    messages = to_messages(await show_response_files(talks, actor, items))
    said: dict[str, Any] = {"model": body.model, "messages": [
        *([{"role": "system", "content": body.instructions}] if body.instructions else []), *messages]}
    said |= {name: getattr(body, name, None) for name in TAKEN}
    said |= {"max_completion_tokens": getattr(body, "max_output_tokens", None), "tools": _tools(body),
             "tool_choice": body.tool_choice, "response_format": _format(body),
             "reasoning_effort": (body.reasoning or {}).get("effort")}
    if "message.output_text.logprobs" in (getattr(body, "include", None) or ()):
        raise UnsupportedParameter("Responses tell no logprobs.", param="include", hint="Chat completions do.")
    try:
        asked, warnings = chat_request(ChatBody.model_validate(said))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise Malformed(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", str(first["loc"][0])) from None
    nested = {name: value for name, value in (body.text or {}).items() if name != "format"}
    included = [Ignored(f"reasoning.{name}") for name, value in (body.reasoning or {}).items()
                if name != "effort" and value is not None]
    included += [Ignored("include")] if getattr(body, "include", None) else []
    return asked, items, [*warnings, *extras("responses", body), *extras("responses.text", nested, "text."), *included]


def to_items(given: str | list[Any]) -> list[Any]:
    """What a client sent as `input` as items that are kept, each with an id; to_messages() says what is wrong."""
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}]
    items = []
    for item in given:
        if isinstance(item, dict):
            kind = item.get("type", "message")
            if kind == "message" and isinstance(item.get("content"), str):
                text = "output_text" if item.get("role") == "assistant" else "input_text"
                item = {**item, "content": [{"type": text, "text": item["content"]}]}
            name = item["id"] if isinstance(item.get("id"), str) and item["id"] else _item_id(kind)
            item = {**item, "type": kind, "id": name}
        items.append(item)
    return items


def _item_id(kind: Any) -> str:
    prefix = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
    return f"{prefix.get(kind, 'item') if isinstance(kind, str) else 'item'}_{secrets.token_hex(12)}"


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


async def _whole(send: Send, response: MadeResponse, chat: Chat, actor: Actor, asked: ChatRequest, keep: Keep) -> None:
    waited = Waited()
    await response.run(chat, actor, asked, _nobody, waited)
    await keep()
    answer = JSONResponse(response.shown, headers={**origin_headers(response.origin),
                                                   **ignored_headers(response.warnings), **waited.headers})
    await send({"type": "http.response.start", "status": 200, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _stream(send: Send, response: MadeResponse, chat: Chat, actor: Actor, asked: ChatRequest, keep: Keep) -> None:
    stream, number = Stream(send, ignored_headers(response.warnings)), itertools.count()

    async def tell(event: dict[str, Any]) -> None:
        await stream.begin(origin_headers(response.origin))
        if event["type"] in ENDS:  # whoever hears of the end finds it kept
            await keep()
        await stream.event({**event, "sequence_number": next(number)})

    try:
        await response.run(chat, actor, asked, tell, stream.wait)
    except HeadwaterError as error:
        if not stream.begun:
            raise
        log.warning("an answer broke off: %s", error)
        response.fail(str(error))
        await stream.event({"type": "response.failed", "response": response.shown, "sequence_number": next(number)})
    await stream.say("", more=False)
