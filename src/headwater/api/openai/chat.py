"""POST /v1/chat/completions: translate, call chat.complete, render. The answer names the revision that spoke."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.types import Send

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import ChatBody, body_schema, chat_body, chat_request
from headwater.chat.complete import complete
from headwater.chat.made import Made
from headwater.chat.types import ChatEvent, Finished, Origin, Piece, Started, Usage
from headwater.core.errors import HeadwaterError, NotSignedIn

log = logging.getLogger("headwater.http")

router = APIRouter(prefix="/v1", tags=["OpenAI"])
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema()}}}}


@router.post("/chat/completions", openapi_extra=_BODY)
async def chat_completions(request: Request, actor: ActorDep, body: Annotated[ChatBody, Depends(chat_body)]) -> Any:
    """Answer a conversation, as one object or as server-sent events."""
    if actor.account is None:
        raise NotSignedIn("Chat needs a token here.", hint="Make one with `headwater token create`.")
    asked, warnings = chat_request(body)
    answer = _Answer(complete(get_app(request).chat, actor, asked), warnings, asked.logprobs or 0)
    if not body.stream:
        return UntilHangup(answer.send_whole)
    options = body.stream_options
    return UntilHangup(lambda send: answer.send_stream(send, usage=bool(options and options.include_usage)))


class _Answer:
    """One completion on its way to one client."""

    def __init__(self, events: AsyncGenerator[ChatEvent], warnings: list[str], rivals: int = 0):
        self.events, self.warnings, self.rivals = events, warnings, rivals
        self.id, self.created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        self.origin: Origin

    async def send_whole(self, send: Send) -> None:
        made = Made()
        async with aclosing(self.events) as events:
            async for event in events:
                made.add(event)
        self.origin = made.origin
        self.warnings += made.finished.warnings
        body = {**self._head("chat.completion"), "choices": [_made_choice(made, self.rivals)],
                "usage": _usage(made.finished.usage), **self._from()}
        response = Response(json.dumps(body, ensure_ascii=False), media_type="application/json",
                            headers=self._headers())
        await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body})

    async def send_stream(self, send: Send, *, usage: bool) -> None:
        async def say(data: str, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": more})

        started = False
        try:
            async with aclosing(self.events) as events:
                async for event in events:
                    if isinstance(event, Started):
                        self.origin, started = event.origin, True
                        await send({"type": "http.response.start", "status": 200, "headers": self._stream_headers()})
                    for chunk in self._chunks(event, usage):
                        await say(json.dumps(chunk, ensure_ascii=False))
        except HeadwaterError as error:
            if not started:
                raise
            log.warning("an answer broke off: %s", error)
            await say(json.dumps({"error": {"message": str(error), "type": "server_error", "param": None,
                                            "code": error.code}}), more=False)
            return
        await say("[DONE]", more=False)

    def _chunks(self, event: ChatEvent, usage: bool) -> list[dict[str, Any]]:
        """What an event becomes on the wire. With `usage` every chunk has the field, as OpenAI documents it."""
        head = {**self._head("chat.completion.chunk"), **({"usage": None} if usage else {})}
        match event:
            case Started():
                return [{**head, "choices": [_choice({"role": "assistant", "content": ""})], **self._from()}]
            case Piece(text, reasoning, calls, logprobs):
                delta = {"content": text, "reasoning_content": reasoning, "tool_calls": list(calls)}
                delta = {name: value for name, value in delta.items() if value}
                return [{**head, "choices": [_choice(delta, logprobs=told_logprobs(logprobs, self.rivals))]}]
            case Finished(reason, counted, more):
                self.warnings += more
                last = {**head, "choices": [_choice({}, reason)], **self._from()}
                return [last, {**head, "choices": [], "usage": _usage(counted)}] if usage else [last]

    def _head(self, kind: str) -> dict[str, Any]:
        origin = self.origin
        return {"id": self.id, "object": kind, "created": self.created, "model": f"{origin.repo}@{origin.revision}",
                "system_fingerprint": f"{origin.engine}-{origin.revision[:12]}"}

    def _from(self) -> dict[str, Any]:
        origin = self.origin
        return {"headwater": {"repo": origin.repo, "revision": origin.revision, "engine": origin.engine,
                              "build": origin.build, "file": origin.file, "seed": origin.seed,
                              "warnings": self.warnings}}

    def _headers(self) -> dict[str, str]:
        return {"X-Headwater-Revision": self.origin.revision, "X-Headwater-Engine": self.origin.engine,
                "X-Headwater-Build": self.origin.build}

    def _stream_headers(self) -> list[tuple[bytes, bytes]]:
        # X-Accel-Buffering: nginx would else keep tokens back until its buffer is full
        headers = {**self._headers(), "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()] + [
            (b"content-type", b"text/event-stream; charset=utf-8")]


def _choice(delta: dict[str, Any], reason: str | None = None, logprobs: Any = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


def _made_choice(made: Made, rivals: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": made.text, "refusal": None}
    if made.reasoning:
        message["reasoning_content"] = made.reasoning
    if made.calls:
        message.update(content=made.text or None, tool_calls=made.calls)
    return {"index": 0, "message": message, "logprobs": told_logprobs(made.logprobs, rivals),
            "finish_reason": made.finished.reason}


def told_logprobs(tokens: Sequence[dict[str, Any]], rivals: int) -> dict[str, Any] | None:
    """OpenAI's object, with so many rivals a token; an engine's own fields, such as token ids, are left out."""
    def told(token: dict[str, Any]) -> dict[str, Any]:
        return {"token": token["token"], "logprob": token["logprob"], "bytes": token.get("bytes")}

    content = [{**told(token), "top_logprobs": [told(other) for other in token.get("top_logprobs", ())[:rivals]]}
               for token in tokens]
    return {"content": content, "refusal": None} if content else None


def _usage(usage: Usage | None) -> dict[str, int] | None:
    return usage and {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens,
                      "total_tokens": usage.total_tokens}
