"""A whole answer out of its events."""

from __future__ import annotations

from typing import Any

from headwater.chat.types import ChatEvent, Finished, Origin, Piece, Started


class Made:
    """What has been said so far. `origin` is there once Started was added, `finished` after the last event."""

    origin: Origin
    finished: Finished

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self.logprobs: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        """OpenAI's tool_calls, put together from their deltas."""

    def add(self, event: ChatEvent) -> None:
        match event:
            case Started(origin):
                self.origin = origin
            case Piece(text, reasoning, calls, logprobs):
                self._texts.append(text)
                self._thoughts.append(reasoning)
                self.logprobs += logprobs
                for call in calls:
                    self._add_call(call)
            case Finished():
                self.finished = event

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def reasoning(self) -> str:
        return "".join(self._thoughts)

    def _add_call(self, delta: dict[str, Any]) -> None:
        at, said = delta.get("index", 0), delta.get("function") or {}
        if at >= len(self.calls):
            self.calls.append({"id": delta.get("id"), "type": "function", "function": {"name": "", "arguments": ""}})
        function = self.calls[min(at, len(self.calls) - 1)]["function"]
        function["name"] += said.get("name") or ""
        function["arguments"] += said.get("arguments") or ""
