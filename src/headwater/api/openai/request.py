"""POST /v1/chat/completions as it arrives: read within bounds, checked, turned into a ChatRequest.

A parameter is taken, ignored with a warning, or refused; none is dropped in silence.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headwater.api.openai.several import ANSWERS_MAX
from headwater.api.openai.tools import Malformed, read_calls, read_form, read_tools
from headwater.api.openai.wishes import Wishes
from headwater.api.parameters import Ignored, extras
from headwater.chat.switches import thinking, words
from headwater.chat.types import ChatRequest, Switch, UnsupportedParameter
from headwater.core.errors import TooLarge

BODY_MAX = 16 * 1024 * 1024
SEED_MAX = 2**32 - 2
"""llama.cpp keeps seeds in 32 bits, and takes the last value to mean 'draw one'."""

LOGPROBS_MAX = 20
KNOWN_OF_MESSAGES = ("tool_calls", "tool_call_id", "reasoning_content", "function_call", "refusal", "annotations")
"""Beside their fields; refusal and annotations come back from clients that send an answer on as it was."""
Body = TypeVar("Body", bound=BaseModel)


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    include_usage: bool | None = None


class Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None


class AskedBody(BaseModel):
    """What a conversation and a bare text are both asked with."""

    model_config = ConfigDict(strict=True, extra="allow")
    model: Annotated[str, Field(description="`owner/name`, or `owner/name@revision`", max_length=500)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Annotated[str, Field(max_length=1000)] | Annotated[
        list[Annotated[str, Field(max_length=1000)]], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=0, le=SEED_MAX)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    n: Annotated[int, Field(ge=1, le=ANSWERS_MAX)] | None = None
    headwater: Wishes | None = None

    @property
    def drawing(self) -> dict[str, Any]:
        """The fields of a ChatRequest that say how tokens are drawn, and where they stop."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return {"stop": tuple(text for text in stop if text), "seed": self.seed, "temperature": self.temperature,
                "top_p": self.top_p, "presence_penalty": self.presence_penalty,
                "frequency_penalty": self.frequency_penalty,
                "adapters": self.headwater.scales if self.headwater else ()}

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with what was counted."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatBody(AskedBody):
    """What is honoured. Everything else lands in model_extra."""

    model_config = ConfigDict(strict=True, extra="allow", title="ChatCompletionRequest")
    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=LOGPROBS_MAX)] | None = None
    reasoning_effort: Annotated[str, Field(max_length=100)] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @property
    def switches(self) -> tuple[Switch, ...]:
        """What is wished of the chat template. Raises UnsupportedParameter."""
        effort = (thinking("reasoning_effort", self.reasoning_effort),) if self.reasoning_effort else ()
        return effort + words("chat_template_kwargs", self.chat_template_kwargs or {})


def body_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a body as one piece: it stands in the OpenAPI document, where $defs would not be found."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(node: Any) -> Any:
        if isinstance(node, dict):
            name = node.get("$ref", "").removeprefix("#/$defs/")
            return whole(parts[name]) if name else {key: whole(value) for key, value in node.items()}
        return [whole(value) for value in node] if isinstance(node, list) else node

    return whole(schema)


async def chat_body(request: Request) -> ChatBody:
    return await read_body(request, ChatBody)


async def read_body(request: Request, kind: type[Body]) -> Body:
    """The body, of at most BODY_MAX bytes. Raises TooLarge, Malformed."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > BODY_MAX:
            raise TooLarge(f"The request has more than {BODY_MAX:,} bytes.")
    try:
        return kind.model_validate_json(bytes(received))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"] if not str(step).startswith(("list[", "constrained-")))
        raise Malformed(f"{where or 'body'}: {first['msg']}.", where or None) from None


def with_seeds(asked: ChatRequest, count: int) -> list[ChatRequest]:
    """The request so many times, each with the seed after the one before: the first one's seed tells them all."""
    if count == 1:
        return [asked]
    first = random.randrange(SEED_MAX) if asked.seed is None else asked.seed
    return [dataclasses.replace(asked, seed=(first + n) % (SEED_MAX + 1)) for n in range(count)]


def chat_request(body: ChatBody) -> tuple[ChatRequest, list[str]]:
    """What to ask the model, and a warning for each parameter that has no effect. Raises UnsupportedParameter."""
    warnings = extras("chat", body)
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    messages = tuple(_message(n, message, warnings) for n, message in enumerate(body.messages))
    tools, choice = read_tools(body.tools, body.tool_choice)
    form = read_form(body.response_format)
    if form is not None and tools and choice != "auto":
        raise UnsupportedParameter("An answer cannot have a form and be a call.", param="response_format",
                                   hint="Leave out response_format or tool_choice.")
    return ChatRequest(
        model=body.model, messages=messages, max_tokens=limit, **body.drawing, form=form, tools=tools,
        tool_choice=choice, parallel_tool_calls=body.parallel_tool_calls if tools else None,
        logprobs=_logprobs(body), switches=body.switches), warnings


def _logprobs(body: ChatBody) -> int | None:
    """As ChatRequest.logprobs."""
    if body.top_logprobs and not body.logprobs:
        raise Malformed("top_logprobs: only with logprobs.", "top_logprobs")
    return body.top_logprobs or 0 if body.logprobs else None


def _message(n: int, message: Message, warnings: list[str]) -> dict[str, Any]:
    extra, where = message.model_extra or {}, f"messages[{n}]"
    if message.role == "function" or extra.get("function_call"):
        raise UnsupportedParameter("Calls come as tool_calls, and results in the role tool.", param=where)
    if message.name is not None:
        warnings.append(Ignored(f"{where}.name"))
    warnings += [Ignored(f"{where}.{name}") for name, value in extra.items()
                 if value and name not in KNOWN_OF_MESSAGES]
    told = {"role": "system" if message.role == "developer" else message.role, "content": _content(n, message)}
    if message.role == "tool":
        if not isinstance(extra.get("tool_call_id"), str):
            raise Malformed(f"{where}.tool_call_id: must be text.", where)
        told["tool_call_id"] = extra["tool_call_id"]
    if message.role == "assistant":
        if extra.get("tool_calls"):
            told["tool_calls"] = read_calls(where, extra["tool_calls"])
        if isinstance(thought := extra.get("reasoning_content"), str) and thought:
            told["reasoning_content"] = thought  # the template says which of it is shown to the model again
    return told


def _content(n: int, message: Message) -> str | list[dict[str, Any]]:
    """Text; a list of parts where a picture is among them."""
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    parts = [_part(f"messages[{n}].content[{k}]", part, message.role) for k, part in enumerate(message.content)]
    if any(part["type"] == "image_url" for part in parts):
        return parts
    return "\n".join(part["text"] for part in parts)


def _part(where: str, part: dict[str, Any], role: str) -> dict[str, Any]:
    if part.get("type") == "image_url" and role == "user":
        given = part.get("image_url")
        url = given.get("url") if isinstance(given, dict) else given
        if not isinstance(url, str) or not url:
            raise Malformed(f"{where}.image_url.url: must be text.", where)
        return {"type": "image_url", "image_url": {"url": url}}
    if part.get("type") != "text":
        raise UnsupportedParameter(f"{where} is of type {str(part.get('type'))[:100]!r}; only text is read, and what a "
                                   "user shows as image_url.", param=where)
    if not isinstance(part.get("text"), str):
        raise Malformed(f"{where}.text: must be text.", where)
    return {"type": "text", "text": part["text"]}
