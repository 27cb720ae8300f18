"""POST /api/chat: Ollama's form, answered as everything else here is.

Durations in the answers are 0 but for the whole: engines do not tell their parts.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Send

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import ChatBody, body_schema, chat_request, read_body
from headwater.api.openai.tools import Malformed
from headwater.api.origin import origin_body, origin_headers
from headwater.api.parameters import extras, ignored_headers
from headwater.api.stream import Stream, Waited
from headwater.chat import Chat
from headwater.chat.complete import complete
from headwater.chat.made import Made
from headwater.chat.switches import thinking
from headwater.chat.types import ChatRequest, Finished, Origin, Piece, Started
from headwater.core.errors import HeadwaterError, NotSignedIn
from headwater.core.types import Actor

log = logging.getLogger("headwater.http")
router = APIRouter(prefix="/api", tags=["Ollama"])
OPTIONS = {"temperature": "temperature", "top_p": "top_p", "seed": "seed", "stop": "stop", "num_predict": "max_tokens",
           "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty", "top_k": "top_k"}


class AskedBody(BaseModel):
    """What a conversation and a single prompt are both asked with."""

    model_config = ConfigDict(strict=True, extra="allow")
    model: Annotated[str, Field(description="`owner/name`, or `owner/name@revision`", max_length=500)]
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    think: bool | str | None = None


class OllamaBody(AskedBody):
    model_config = ConfigDict(strict=True, extra="allow", title="OllamaChatRequest")
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=10_000)]
    tools: list[Any] | None = None


async def ollama_body(request: Request) -> OllamaBody:
    return await read_body(request, OllamaBody)


@router.post("/chat", openapi_extra={"requestBody": {"required": True, "content": {
    "application/json": {"schema": body_schema(OllamaBody)}}}})
async def chat(request: Request, actor: ActorDep, body: Annotated[OllamaBody, Depends(ollama_body)]) -> Any:
    """Answer a conversation in Ollama's form: lines of JSON, or one object with stream=false."""
    if actor.account is None:
        raise NotSignedIn("Chat needs a token here.", hint="Make one with `headwater token create`.")
    asked, warnings = _asked(body)
    answer = Answer(get_app(request).chat, actor, asked, warnings)
    return UntilHangup(answer.send_whole if body.stream is False else answer.send_stream)


def _asked(body: OllamaBody) -> tuple[ChatRequest, list[str]]:
    messages = [_message(n, message) for n, message in enumerate(body.messages)]
    return read_asked(body, messages, extras("ollama", body))


def read_asked(body: AskedBody, messages: list[dict[str, Any]], warnings: list[str]) -> tuple[ChatRequest, list[str]]:
    """What to ask, with these messages in OpenAI's form, and all warnings. Raises Malformed, UnsupportedParameter."""
    options = body.options or {}
    warnings += extras("ollama.options", {k: v for k, v in options.items() if k not in OPTIONS}, "options.")
    said: dict[str, Any] = {"model": body.model.removesuffix(":latest"), "messages": messages,
                            "tools": getattr(body, "tools", None)}
    for name in options.keys() & OPTIONS.keys():
        said[OPTIONS[name]] = None if name == "num_predict" and options[name] in (-1, -2) else options[name]
    top_k = said.pop("top_k", None)
    if top_k is not None and (type(top_k) is not int or not 0 <= top_k < 2**31):
        raise Malformed("options.top_k: must be a whole number from 0.", "options")
    if body.format == "json":
        said["response_format"] = {"type": "json_object"}
    elif isinstance(body.format, dict):
        said["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": body.format}}
    elif body.format:
        raise Malformed('format: must be "json" or a JSON schema.', "format")
    try:
        asked, more = chat_request(ChatBody.model_validate(said))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise Malformed(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", str(first["loc"][0])) from None
    asked = dataclasses.replace(asked, top_k=top_k)
    if body.think is not None:
        asked = dataclasses.replace(asked, switches=(thinking("think", body.think),))
    return asked, warnings + more


def _message(n: int, message: dict[str, Any]) -> dict[str, Any]:
    """In chat's form: this API has no ids of calls, and arguments as objects."""
    told = {"role": message.get("role"), "content": message.get("content")}
    if images := message.get("images"):
        told["content"] = [*pictures(f"messages[{n}].images", images),
                           {"type": "text", "text": message.get("content") or ""}]
    if message.get("role") == "tool":
        told["tool_call_id"] = str(message.get("tool_call_id") or message.get("tool_name") or "call")
    if calls := message.get("tool_calls"):
        told["tool_calls"] = [_call(n, call) for call in (calls if isinstance(calls, list) else [calls])]
    return told


def pictures(where: str, given: Any) -> list[dict[str, Any]]:
    """Parts in OpenAI's form out of a list of base64; pictures go before the text, as Ollama has them."""
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise Malformed(f"{where}: must be a list of texts in base64.", where)
    return [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{one}"}} for one in given]


def _call(n: int, call: Any) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise Malformed(f"messages[{n}].tool_calls: each wants a function.", "messages")
    return {"id": str(call.get("id") or function.get("name")), "type": "function", "function": {
        "name": function.get("name"), "arguments": json.dumps(function.get("arguments") or {})}}


class Answer:
    """One answer on its way to one client."""

    def said(self, text: str, thought: str = "", calls: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        """The fields of a line that hold what was said."""
        message: dict[str, Any] = {"role": "assistant", "content": text}
        return {"message": {**message, **({"thinking": thought} if thought else {}),
                            **({"tool_calls": list(calls)} if calls else {})}}

    def __init__(self, chat: Chat, actor: Actor, asked: ChatRequest, warnings: list[str]):
        self.ask, self.model = partial(complete, chat, actor, asked), asked.model
        self.warnings, self.began, self.made = warnings, time.monotonic_ns(), Made()

    async def send_whole(self, send: Send) -> None:
        waited = Waited()
        async with aclosing(self.ask(waited)) as events:
            async for event in events:
                self.made.add(event)
        made = self.made
        response = JSONResponse(self._last(self.said(made.text, made.reasoning, self._calls())), headers={
            **origin_headers(made.origin), **ignored_headers(self.warnings), **waited.headers})
        await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body})

    async def send_stream(self, send: Send) -> None:
        stream = Stream(send, ignored_headers(self.warnings), "application/x-ndjson")

        async def wait(position: int) -> None:  # lines of JSON have no comments: a piece without text says it
            await stream.begin({})
            await stream.say(_line({"model": self.model, "created_at": moment(time.time()), "done": False,
                                    **self.said(""), "headwater": {"queue": position}}))

        try:
            async with aclosing(self.ask(wait)) as events:
                async for event in events:
                    self.made.add(event)
                    if isinstance(event, Started):
                        await stream.begin(origin_headers(event.origin))
                    elif isinstance(event, Piece) and (event.text or event.reasoning):
                        await stream.say(_line({**_head(self.made.origin), "done": False,
                                                **self.said(event.text, event.reasoning)}))
        except HeadwaterError as error:
            if not stream.begun:
                raise
            log.warning("an answer broke off: %s", error)
            await stream.say(_line({"error": str(error)}), more=False)
            return
        await stream.say(_line(self._last(self.said("", calls=self._calls()))), more=False)

    def _calls(self) -> list[dict[str, Any]]:
        """Whole at the end: this API has no pieces of calls."""
        told = []
        for call in self.made.calls:
            try:
                arguments = json.loads(call["function"]["arguments"])
            except ValueError:  # cut short by num_predict
                arguments = {}
            told.append({"function": {"name": call["function"]["name"], "arguments": arguments}})
        return told

    def _last(self, said: dict[str, Any]) -> dict[str, Any]:
        done: Finished = self.made.finished
        used, warnings = done.usage, [*self.warnings, *done.warnings]
        return {**_head(self.made.origin), **said, "done": True,
                "done_reason": "length" if done.reason == "length" else "stop",
                "total_duration": time.monotonic_ns() - self.began, "load_duration": 0, "prompt_eval_duration": 0,
                "eval_duration": 0, "prompt_eval_count": used.prompt_tokens if used else 0,
                "eval_count": used.completion_tokens if used else 0, **origin_body(self.made.origin, warnings)}


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _head(origin: Origin) -> dict[str, Any]:
    return {"model": f"{origin.repo}@{origin.revision}", "created_at": moment(time.time())}


def moment(seconds: float) -> str:
    """As Ollama writes a time: RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
