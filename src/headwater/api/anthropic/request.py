"""POST /v1/messages as it arrives: checked, turned into a ChatRequest. Blocks become OpenAI's messages."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headwater.api.openai.tools import Malformed, check_schema, read_tools
from headwater.api.parameters import Ignored, extras
from headwater.chat.switches import thinking
from headwater.chat.types import ChatRequest, Switch, UnsupportedParameter


class Turn(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class CountBody(BaseModel):
    """What POST /v1/messages/count_tokens takes; everything else lands in model_extra."""

    model_config = ConfigDict(strict=True, extra="allow", title="CountTokensRequest")
    model: Annotated[str, Field(description="`owner/name`, or `owner/name@revision`", max_length=500)]
    messages: Annotated[list[Turn], Field(min_length=1, max_length=10_000)]
    system: str | list[dict[str, Any]] | None = None
    tools: list[Any] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None


class MessagesBody(CountBody):
    model_config = ConfigDict(strict=True, extra="allow", title="MessagesRequest")
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)]
    stream: bool | None = None
    stop_sequences: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=16)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    output_config: dict[str, Any] | None = None


def messages_request(body: CountBody) -> tuple[ChatRequest, list[str]]:
    """What to ask the model, and a warning for each parameter that has no effect. Raises UnsupportedParameter."""
    reading = _Reading()
    reading.warnings += extras("messages", body)
    reading.warnings += [Ignored(f"thinking.{name}") for name in body.thinking or {} if name != "type"]
    messages = [{"role": "system", "content": text}] if (text := reading.text("system", body.system or "")) else []
    for n, turn in enumerate(body.messages):
        messages += reading.turn(f"messages[{n}]", turn)
    tools, choice, parallel = _tools(body)
    asked = ChatRequest(model=body.model, messages=tuple(messages), tools=tools, tool_choice=choice,
                        parallel_tool_calls=parallel, switches=_thinking(body))
    if isinstance(body, MessagesBody):
        asked = ChatRequest(**{**vars(asked), **_choices(body)})
    if asked.form is not None and choice != "auto":
        raise UnsupportedParameter("An answer cannot have a form and be a call.", param="output_config")
    return asked, reading.warnings


def _thinking(body: CountBody) -> tuple[Switch, ...]:
    if body.thinking is None:
        return ()
    kind = body.thinking.get("type")
    if kind not in ("enabled", "adaptive", "disabled"):
        raise Malformed("thinking.type: must be enabled, adaptive or disabled.", "thinking")
    return (thinking("thinking", kind != "disabled"),)


def _choices(body: MessagesBody) -> dict[str, Any]:
    return {"stop": tuple(text for text in body.stop_sequences or () if text), "temperature": body.temperature,
            "top_p": body.top_p, "top_k": body.top_k, "max_tokens": body.max_tokens, "form": _form(body),
            "tell_stop": True}


def _form(body: MessagesBody) -> dict[str, Any] | None:
    said = (body.output_config or {}).get("format")
    if said is None:
        return None
    if not isinstance(said, dict) or said.get("type") != "json_schema":
        raise UnsupportedParameter("output_config.format must be of type json_schema.", param="output_config")
    return check_schema(said.get("schema"), "output_config.format.schema", "output_config")


def _tools(body: CountBody) -> tuple[tuple[dict[str, Any], ...], str, bool | None]:
    """(tools in OpenAI's form, the choice, whether several calls at once are fine)."""
    functions = []
    for n, tool in enumerate(body.tools or ()):
        if not isinstance(tool, dict) or tool.get("type") not in (None, "custom"):
            raise UnsupportedParameter(f"tools[{n}] is none of your own: only tools with an input_schema are called.",
                                       param="tools")
        functions.append({"type": "function", "function": {
            "name": tool.get("name"), "description": tool.get("description"), "parameters": tool.get("input_schema")}})
    choice = body.tool_choice or {"type": "auto"}
    kinds = {"auto": "auto", "none": "none", "any": "required",
             "tool": {"type": "function", "function": {"name": choice.get("name")}}}
    if not isinstance(choice.get("type"), str) or choice["type"] not in kinds:
        raise Malformed("tool_choice.type: must be auto, any, tool or none.", "tool_choice")
    tools, chosen = read_tools(functions, kinds[choice["type"]])
    return tools, chosen, False if choice.get("disable_parallel_tool_use") and tools else None


class _Reading:
    """Blocks read into messages; what has no effect is noted once."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def turn(self, where: str, turn: Turn) -> list[dict[str, Any]]:
        if isinstance(turn.content, str):
            return [{"role": turn.role, "content": turn.content}]
        results, parts, calls, thoughts = [], [], [], []
        for k, block in enumerate(turn.content):
            at = f"{where}.content[{k}]"
            match block.get("type"):
                case "tool_result" if turn.role == "user":
                    results.append(self._result(at, block))
                case "tool_use" if turn.role == "assistant":
                    calls.append(_call(at, block))
                case "thinking" if turn.role == "assistant":
                    thoughts.append(_string(at, block, "thinking"))
                case "redacted_thinking":
                    self._warn(Ignored("redacted_thinking"))
                case "image" if turn.role == "user":
                    parts.append(_picture(at, block))
                case _:
                    parts.append({"type": "text", "text": self._text(at, block)})
        shown = any(part["type"] == "image_url" for part in parts)
        said = {"role": turn.role, "content": parts if shown else "\n".join(part["text"] for part in parts)}
        if calls:
            said["tool_calls"] = calls
        if thoughts:
            said["reasoning_content"] = "\n".join(thoughts)
        return results + ([said] if parts or calls or not results else [])

    def text(self, where: str, given: str | list[dict[str, Any]]) -> str:
        if isinstance(given, str):
            return given
        return "\n".join(self._text(f"{where}[{k}]", block) for k, block in enumerate(given))

    def _text(self, where: str, block: Any) -> str:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind != "text":
            raise UnsupportedParameter(f"{where} is of type {str(kind)[:100]!r}; only text is read, and the images "
                                       "a user shows.", param=where)
        if block.get("cache_control"):
            self._warn(Ignored("cache_control", ": prompts are kept anyway"))
        return _string(where, block, "text")

    def _result(self, where: str, block: dict[str, Any]) -> dict[str, Any]:
        content = block.get("content") or ""
        if not isinstance(content, str | list):
            raise Malformed(f"{where}.content: must be text or blocks.", where)
        text = self.text(f"{where}.content", content)
        return {"role": "tool", "tool_call_id": _string(where, block, "tool_use_id"),
                "content": f"Error: {text}" if block.get("is_error") else text}

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _call(where: str, block: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(block.get("input"), dict):
        raise Malformed(f"{where}.input: must be an object.", where)
    return {"id": _string(where, block, "id"), "type": "function", "function": {
        "name": _string(where, block, "name"), "arguments": json.dumps(block["input"], ensure_ascii=False)}}


def _picture(where: str, block: dict[str, Any]) -> dict[str, Any]:
    source = block.get("source")
    match source.get("type") if isinstance(source, dict) else None:
        case "base64":
            url = f"data:{_string(f'{where}.source', source, 'media_type')};base64,{_string(where, source, 'data')}"
        case "url":
            url = _string(f"{where}.source", source, "url")
        case kind:
            raise UnsupportedParameter(f"{where}.source is of type {str(kind)[:100]!r}; base64 and url are read.",
                                       param=where)
    return {"type": "image_url", "image_url": {"url": url}}


def _string(where: str, block: dict[str, Any], name: str) -> str:
    if not isinstance(block.get(name), str):
        raise Malformed(f"{where}.{name}: must be text.", where)
    return block[name]
