"""The items of OpenAI's Responses: those that come in made into chat messages, and those an answer is made of."""

from __future__ import annotations

import secrets
from typing import Any

from headwater.api.openai.tools import Malformed
from headwater.chat.types import Piece, UnsupportedParameter

TEXTS = ("input_text", "output_text", "text")


def to_messages(given: str | list[Any]) -> list[dict[str, Any]]:
    """Chat messages of what a client sent as `input`; calls that follow each other are one message."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict[str, Any]] = []
    for n, item in enumerate(given):
        where, kind = f"input[{n}]", item.get("type", "message") if isinstance(item, dict) else None
        if kind == "message":
            messages.append({"role": item.get("role"), "content": _content(where, item.get("content"))})
        elif kind == "function_call":
            call = {"id": item.get("call_id"), "type": "function",
                    "function": {"name": item.get("name"), "arguments": item.get("arguments")}}
            if messages and messages[-1].get("tool_calls"):
                messages[-1]["tool_calls"].append(call)
            else:
                messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        elif kind == "function_call_output":
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"),
                             "content": _content(where, item.get("output"))})
        elif kind != "reasoning":  # what was thought before is not shown to the model again
            raise UnsupportedParameter(f"{where} is of type {str(kind)[:100]!r}, which is not read.", param="input")
    return messages


def _content(where: str, given: Any) -> Any:
    if not isinstance(given, list):
        return given
    parts = []
    for part in given:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "input_image" and part.get("image_url"):
            parts.append({"type": "image_url", "image_url": {"url": part["image_url"]}})
            continue
        if kind not in TEXTS:
            raise UnsupportedParameter(f"{where} has a part of type {str(kind)[:100]!r}; only text is read, and "
                                       "input_image with an image_url.", param="input")
        if not isinstance(part.get("text"), str):
            raise Malformed(f"{where}: text must be text.", "input")
        parts.append({"type": "text", "text": part["text"]})
    return parts


class Items:
    """The output of one response as it grows. tell() gives the events that say so, without their numbers."""

    def __init__(self) -> None:
        self.output: list[dict[str, Any]] = []
        self._open = ""

    def tell(self, piece: Piece) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        if piece.reasoning:
            told += self._begin("reasoning", {"type": "reasoning", "id": _id("rs"), "summary": [], "content": [
                {"type": "reasoning_text", "text": ""}]})
            told += self._grow("reasoning_text", piece.reasoning)
        if piece.text:
            told += self._begin("message", {"type": "message", "id": _id("msg"), "role": "assistant", "content": [
                {"type": "output_text", "text": "", "annotations": [], "logprobs": []}]})
            told += self._grow("output_text", piece.text)
        for call in piece.calls:
            said = call.get("function") or {}
            told += self._begin(f"call {call.get('index', 0)}", {
                "type": "function_call", "id": _id("fc"), "call_id": call.get("id"), "name": said.get("name"),
                "arguments": ""})
            if said.get("arguments"):
                self.output[-1]["arguments"] += said["arguments"]
                told.append({"type": "response.function_call_arguments.delta", "delta": said["arguments"],
                             **self._place()})
        return told

    def close(self, status: str) -> list[dict[str, Any]]:
        """The end of the open item; status: completed or incomplete."""
        if not self._open:
            return []
        item, place = self.output[-1], self._place()
        item["status"], self._open = status, ""
        told: list[dict[str, Any]] = []
        if item["type"] == "function_call":
            told.append({"type": "response.function_call_arguments.done", "arguments": item["arguments"],
                         "name": item["name"], **place})
        else:
            part = item["content"][0]
            told.append({"type": f"response.{part['type']}.done", "text": part["text"], "content_index": 0,
                         "logprobs": [], **place})
            if item["type"] == "message":
                told.append({"type": "response.content_part.done", "content_index": 0, "part": part, **place})
        return [*told, {"type": "response.output_item.done", "output_index": len(self.output) - 1, "item": item}]

    def _begin(self, what: str, item: dict[str, Any]) -> list[dict[str, Any]]:
        if what == self._open:
            return []
        ended = self.close("completed")
        self._open = what
        self.output.append({**item, "status": "in_progress"})
        empty = {**self.output[-1], "content": []} if item["type"] == "message" else dict(self.output[-1])
        told = [*ended, {"type": "response.output_item.added", "output_index": len(self.output) - 1, "item": empty}]
        if item["type"] == "message":
            told.append({"type": "response.content_part.added", "content_index": 0,
                         "part": dict(item["content"][0]), **self._place()})
        return told

    def _grow(self, kind: str, text: str) -> list[dict[str, Any]]:
        self.output[-1]["content"][0]["text"] += text
        return [{"type": f"response.{kind}.delta", "delta": text, "content_index": 0, "logprobs": [], **self._place()}]

    def _place(self) -> dict[str, Any]:
        return {"output_index": len(self.output) - 1, "item_id": self.output[-1]["id"]}


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"
