"""POST /v1/messages and /v1/messages/count_tokens: translate, call chat.complete, render in Anthropic's form.

stop_reason is end_turn for a stop sequence too where an engine does not say which of the two it was (remote).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.types import Send

from headwater.api.anthropic.request import CountBody, MessagesBody, messages_request
from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import body_schema, read_body
from headwater.api.origin import origin_body, origin_headers
from headwater.api.parameters import ignored_headers, shown
from headwater.api.stream import Stream, Waited
from headwater.chat import Chat
from headwater.chat.complete import complete
from headwater.chat.made import Made
from headwater.chat.types import ChatEvent, ChatRequest, Finished, Origin, Piece, Started, Usage
from headwater.core.errors import HeadwaterError, NotSignedIn
from headwater.core.types import Actor

log = logging.getLogger("headwater.http")
router = APIRouter(prefix="/v1", tags=["Anthropic"])
REASONS = {"length": "max_tokens", "tool_calls": "tool_use"}


def _described(kind: type[CountBody]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema(kind)}}}}


async def messages_body(request: Request) -> MessagesBody:
    return await read_body(request, MessagesBody)


async def count_body(request: Request) -> CountBody:
    return await read_body(request, CountBody)


@router.post("/messages", openapi_extra=_described(MessagesBody))
async def messages(request: Request, actor: ActorDep, body: Annotated[MessagesBody, Depends(messages_body)]) -> Any:
    """Answer a conversation in Anthropic's form, as one object or as server-sent events."""
    _signed_in(actor)
    asked, warnings = messages_request(body)
    message = _Message(get_app(request).chat, actor, asked, warnings)
    return UntilHangup(message.send_stream if body.stream else message.send_whole)


@router.post("/messages/count_tokens", openapi_extra=_described(CountBody))
async def count_tokens(request: Request, actor: ActorDep, body: Annotated[CountBody, Depends(count_body)]) -> Any:
    """How many tokens a conversation is to its model, counted by the model: it reads it and says one token."""
    _signed_in(actor)
    asked, warnings = messages_request(body)
    counting = _Counting(get_app(request).chat, actor, dataclasses.replace(asked, max_tokens=1), warnings)
    return UntilHangup(counting.send_whole)


def _signed_in(actor: Actor) -> None:
    if actor.account is None:
        raise NotSignedIn("Messages need a token here.", hint="Make one with `headwater token create`.")


class _Message:
    """One answer on its way to one client."""

    def __init__(self, chat: Chat, actor: Actor, asked: ChatRequest, warnings: list[str]):
        self.ask = partial(complete, chat, actor, asked)
        self.warnings, self.id = warnings, f"msg_{secrets.token_hex(12)}"

    async def send_whole(self, send: Send) -> None:
        made, waited = Made(), Waited()
        async with aclosing(self.ask(waited)) as events:
            async for event in events:
                made.add(event)
        self.warnings += made.finished.warnings
        response = Response(json.dumps(self.body(made), ensure_ascii=False), media_type="application/json",
                            headers={**origin_headers(made.origin), **ignored_headers(self.warnings),
                                     **waited.headers})
        await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body})

    def body(self, made: Made) -> dict[str, Any]:
        blocks: list[dict[str, Any]] = []
        if made.reasoning:
            blocks.append({"type": "thinking", "thinking": made.reasoning, "signature": ""})
        if made.text or not made.calls:
            blocks.append({"type": "text", "text": made.text})
        for call in made.calls:
            blocks.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"],
                           "input": _arguments(call["function"]["arguments"])})
        done = made.finished
        return {**self.head(made.origin), "content": blocks, **_ending(done),
                "usage": _usage(done.usage), **origin_body(made.origin, self.warnings)}

    def head(self, origin: Origin) -> dict[str, Any]:
        return {"id": self.id, "type": "message", "role": "assistant", "model": f"{origin.repo}@{origin.revision}",
                "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(None)}

    async def send_stream(self, send: Send) -> None:
        blocks, stream = _Blocks(), Stream(send, ignored_headers(self.warnings))
        try:
            async with aclosing(self.ask(stream.wait)) as events:
                async for event in events:
                    if isinstance(event, Started):
                        await stream.begin(origin_headers(event.origin))
                    for told in self._told(event, blocks):
                        await stream.event(told)
        except HeadwaterError as error:
            if not stream.begun:
                raise
            log.warning("an answer broke off: %s", error)
            await stream.event({"type": "error", "error": {"type": "api_error", "message": str(error)}}, more=False)
            return
        await stream.event({"type": "message_stop"}, more=False)

    def _told(self, event: ChatEvent, blocks: _Blocks) -> list[dict[str, Any]]:
        """The events of this API that say one of ours."""
        if isinstance(event, Started):
            return [{"type": "message_start", "message": {
                **self.head(event.origin), **origin_body(event.origin, self.warnings)}}]
        return blocks.tell(event) if isinstance(event, Piece) else [*blocks.close(), self._last(event)]

    def _last(self, event: Finished) -> dict[str, Any]:
        return {"type": "message_delta", "usage": _usage(event.usage),
                "delta": _ending(event),
                "headwater": shown([*self.warnings, *event.warnings])}


class _Counting(_Message):
    def body(self, made: Made) -> dict[str, Any]:
        return {"input_tokens": _usage(made.finished.usage)["input_tokens"], **origin_body(made.origin, self.warnings)}


class _Blocks:
    """The content blocks of a stream: one open at a time, numbered from 0."""

    def __init__(self) -> None:
        self._count, self._open, self._call = 0, "", -1

    def tell(self, piece: Piece) -> list[dict[str, Any]]:
        told = []
        if piece.reasoning:
            told += self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            told.append(self._delta({"type": "thinking_delta", "thinking": piece.reasoning}))
        if piece.text:
            told += self._begin("text", {"type": "text", "text": ""})
            told.append(self._delta({"type": "text_delta", "text": piece.text}))
        for call in piece.calls:
            said, at = call.get("function") or {}, call.get("index", 0)
            if at != self._call:
                self._call = at
                told += self._begin(f"call {at}", {"type": "tool_use", "id": call.get("id"), "name": said.get("name"),
                                                   "input": {}})
            if said.get("arguments"):
                told.append(self._delta({"type": "input_json_delta", "partial_json": said["arguments"]}))
        return told

    def close(self) -> list[dict[str, Any]]:
        """The end of the open block; an answer that said nothing has an empty text."""
        begun = [] if self._count else self._begin("text", {"type": "text", "text": ""})
        return [*begun, {"type": "content_block_stop", "index": self._count - 1}]

    def _begin(self, what: str, block: dict[str, Any]) -> list[dict[str, Any]]:
        if what == self._open:
            return []
        ended = [{"type": "content_block_stop", "index": self._count - 1}] if self._count else []
        self._open, self._count = what, self._count + 1
        return [*ended, {"type": "content_block_start", "index": self._count - 1, "content_block": block}]

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._count - 1, "delta": delta}


def _ending(done: Finished) -> dict[str, str | None]:
    reason = "stop_sequence" if done.stopped_by else REASONS.get(done.reason, "end_turn")
    return {"stop_reason": reason, "stop_sequence": done.stopped_by}


def _arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # a call cut short by max_tokens
        return {}


def _usage(usage: Usage | None) -> dict[str, int]:
    """0 where it is not known, as at the start of a stream: this API has no word for that."""
    asked, made = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return {"input_tokens": asked, "output_tokens": made}
