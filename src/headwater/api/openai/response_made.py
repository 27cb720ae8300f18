"""One response of OpenAI's Responses on its way: its object as clients see it, filled while its events are told."""

from __future__ import annotations

import copy
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from headwater.api.openai.response_items import Items
from headwater.api.origin import origin_body
from headwater.chat import Chat
from headwater.chat.complete import complete
from headwater.chat.queue import OnWait
from headwater.chat.types import ChatRequest, Finished, Origin, Piece, Started
from headwater.core.types import Actor, KeptResponse

Tell = Callable[[dict[str, Any]], Awaitable[None]]


class MadeResponse:
    """shown: what clients see. input: the items it answers, those of the responses before it included.

    pieces: how often its output grew.
    """

    def __init__(self, asked_with: dict[str, Any], items: list[dict[str, Any]], warnings: list[str]):
        self.input, self.warnings, self.items = items, warnings, Items()
        self.origin: Origin | None = None
        self.created_at, self.pieces = time.time(), 0
        self.shown: dict[str, Any] = {
            "id": f"resp_{secrets.token_hex(16)}", "object": "response", "created_at": int(self.created_at),
            "status": "in_progress", "error": None, "incomplete_details": None, "output": self.items.output,
            "usage": None, **asked_with}

    @property
    def id(self) -> str:
        return self.shown["id"]

    def kept(self, heartbeat_at: float | None = None) -> KeptResponse:
        """As it is now, to be kept; it may grow meanwhile."""
        return KeptResponse(self.id, self.created_at, copy.deepcopy(self.shown), self.input, heartbeat_at)

    async def run(self, chat: Chat, actor: Actor, asked: ChatRequest, tell: Tell,
                  on_wait: OnWait | None = None) -> None:
        """Fills the response while it tells its events. Raises as complete() does."""
        async with aclosing(complete(chat, actor, asked, on_wait)) as events:
            async for event in events:
                match event:
                    case Started(origin):
                        self.origin = origin
                        self.shown["model"] = f"{origin.repo}@{origin.revision}"
                        self._from()
                        await tell({"type": "response.created", "response": self.shown})
                        await tell({"type": "response.in_progress", "response": self.shown})
                    case Piece():
                        self.pieces += 1
                        for told in self.items.tell(event):
                            await tell(told)
                    case Finished():
                        for told in self._finish(event):
                            await tell(told)

    def fail(self, message: str) -> None:
        self.shown.update(status="failed", error={"code": "server_error", "message": message})

    def cancel(self) -> None:
        self.items.close("incomplete")
        self.shown["status"] = "cancelled"

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        if self.origin is not None:
            self._from()

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
        return [*told, {"type": f"response.{status}", "response": self.shown}]

    def _from(self) -> None:
        self.shown.update(origin_body(self.origin, self.warnings))
