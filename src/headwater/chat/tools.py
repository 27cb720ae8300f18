"""Function tools. A model whose template has a place for them is handed them as they are, and its engine reads its
calls; a call that must be made is enforced on any model, by the form of its answer. Knows nothing of HTTP clients.

The engine is not trusted to honour tool_choice: llama.cpp b11549 answers the same free text to `required` as to
`auto`, and leaves tools out without a word when the template has no place for them.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from headwater.chat.types import ChatEvent, ChatRequest, Finished, Piece, UnsupportedParameter

FORCED = "the tools were written into the system message and the call enforced by a JSON schema"
RETOLD = "calls and their results were told as text: the model's template has no place for them"
PROBE_TOOL, PROBE_RESULT = "probe_of_tools", "probe-of-results"
PROBE: dict[str, Any] = {
    "tools": [{"type": "function", "function": {"name": PROBE_TOOL, "description": "A probe.",
                                                "parameters": {"type": "object", "properties": {}}}}],
    "messages": [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call00001", "type": "function", "function": {"name": "probe_of_calls", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call00001", "name": "probe_of_calls", "content": PROBE_RESULT}]}
"""A conversation that shows, once rendered, what the template has a place for."""


def arrange(request: ChatRequest, rendered: str) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request as this model can take it, and what to tell the client. rendered: PROBE by the model's template.

    Raises UnsupportedParameter: tools the model may choose from, and no place for them in its template.
    """
    notes: tuple[str, ...] = ()
    knows_tools, knows_calls = PROBE_TOOL in rendered, PROBE_RESULT in rendered and "probe_of_calls" in rendered
    if request.speaks_of_tools and not knows_calls:
        request, notes = dataclasses.replace(request, messages=tuple(_retold(request.messages))), (RETOLD,)
    if not request.tools:
        return request, notes
    if request.tool_choice != "auto":
        return _forced(request), (*notes, FORCED)
    if not knows_tools:
        raise UnsupportedParameter(
            f"The template of {request.model} has no place for tools, so the model would never hear of them.",
            param="tools", hint='tool_choice "required", or the name of a function, works with any model.')
    return request, notes


def _forced(request: ChatRequest) -> ChatRequest:
    """Ask for one call, in a form the engine enforces."""
    tools = [t for t in request.tools if request.tool_choice in ("required", t["function"]["name"])]
    forms = [_form(t["function"], "#" if len(tools) == 1 else f"#/anyOf/{n}") for n, t in enumerate(tools)]
    listed = "\n".join(json.dumps(t["function"], ensure_ascii=False) for t in tools)
    text = (f"You have these functions, one a line as JSON:\n{listed}\nAnswer with the call of one of them and nothing "
            'else, as JSON: {"name": its name, "arguments": an object of its arguments}.')
    first, *others = request.messages
    if first["role"] == "system":
        messages = ({**first, "content": f"{first['content']}\n\n{text}"}, *others)
    else:
        messages = ({"role": "system", "content": text}, *request.messages)
    return dataclasses.replace(request, messages=messages, tools=(), parallel_tool_calls=None,
                               form=forms[0] if len(forms) == 1 else {"anyOf": forms})


def _form(function: dict[str, Any], place: str) -> dict[str, Any]:
    """The JSON schema of one function's call, which will stand at `place` of the whole."""
    arguments = _moved(function.get("parameters") or {"type": "object"}, f"{place}/properties/arguments")
    return {"type": "object", "properties": {"name": {"const": function["name"]}, "arguments": arguments},
            "required": ["name", "arguments"], "additionalProperties": False}


def _moved(schema: Any, place: str) -> Any:
    """The schema with its references to itself made to hold at `place`."""
    if isinstance(schema, dict):
        return {key: place + value[1:] if key == "$ref" and isinstance(value, str) and value.startswith("#")
                else _moved(value, place) for key, value in schema.items()}
    return [_moved(value, place) for value in schema] if isinstance(schema, list) else schema


def _retold(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls in the form a forced call has, results as what the user says."""
    told, names = [], {}
    for message in messages:
        if message["role"] == "tool":
            name = names.get(message.get("tool_call_id"), "the function")
            told.append({"role": "user", "content": f"Result of {name}: {message['content']}"})
        elif calls := message.get("tool_calls"):
            names.update({call["id"]: call["function"]["name"] for call in calls})
            lines = [json.dumps(call["function"], ensure_ascii=False) for call in calls]
            told.append({"role": "assistant", "content": "\n".join([message["content"] or "", *lines]).strip()})
        else:
            told.append(message)
    return told


async def as_call(events: AsyncGenerator[ChatEvent]) -> AsyncGenerator[ChatEvent]:
    """The events of a forced answer, its text made a call once it is whole. What was cut short stays text."""
    text, logprobs = "", ()
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Piece):
                text, logprobs = text + event.text, logprobs + event.logprobs
                if event.reasoning:
                    yield Piece("", event.reasoning)
                continue
            if isinstance(event, Finished):
                call = _call(text)
                yield Piece("", calls=(call,), logprobs=logprobs) if call else Piece(text, logprobs=logprobs)
                event = dataclasses.replace(event, reason="tool_calls") if call else event
            yield event


def _call(text: str) -> dict[str, Any] | None:
    try:
        said = json.loads(text)
        function = {"name": said["name"], "arguments": json.dumps(said["arguments"], ensure_ascii=False)}
    except (ValueError, TypeError, KeyError):
        return None
    return {"index": 0, "id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
