"""Answers on their way to one client of OpenAI's API, whole or as server-sent events. Their shape is a subclass's."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi.responses import Response
from starlette.types import Send

from headwater.api.openai.several import side_by_side
from headwater.api.origin import origin_body, origin_headers
from headwater.api.parameters import ignored_headers
from headwater.api.stream import Stream, Waited
from headwater.chat import Chat
from headwater.chat.complete import complete
from headwater.chat.made import Made
from headwater.chat.queue import OnWait
from headwater.chat.types import ChatEvent, ChatRequest, Finished, Origin, Started, Usage
from headwater.core.errors import HeadwaterError
from headwater.core.types import Actor

log = logging.getLogger("headwater.http")


class Answer:
    """The answers to `asked`, one a choice; each names the revision that spoke.

    asked: only the seeds (and prompts) may differ. rivals: see told_logprobs.
    """

    id_prefix: str
    whole_kind: str
    chunk_kind: str

    def __init__(self, chat: Chat, actor: Actor, asked: Sequence[ChatRequest], warnings: list[str]):
        self.asked, self.warnings, self.rivals = asked, warnings, asked[0].logprobs or 0
        self.events: AsyncGenerator[tuple[int, ChatEvent]] = side_by_side(
            [complete(chat, actor, one, self._wait) for one in asked])
        self.id, self.created = f"{self.id_prefix}-{secrets.token_hex(12)}", int(time.time())
        self.waited = Waited()
        self.tell: OnWait = self.waited
        self.origins: dict[int, Origin] = {}
        self.usages: dict[int, Usage | None] = {}

    def chunk_choices(self, n: int, event: ChatEvent) -> list[dict[str, Any]]:
        """What an event of the n-th answer becomes in a stream."""
        raise NotImplementedError

    def whole_choice(self, n: int, made: Made) -> dict[str, Any]:
        raise NotImplementedError

    async def send_whole(self, send: Send) -> None:
        made = [Made() for _ in self.asked]
        async with aclosing(self.events) as events:
            async for n, event in events:
                self._note(n, event)
                made[n].add(event)
        body = {**self._head(self.whole_kind), "choices": [self.whole_choice(n, one) for n, one in enumerate(made)],
                "usage": self._usage(), **self._from()}
        response = Response(json.dumps(body, ensure_ascii=False), media_type="application/json",
                            headers={**origin_headers(self.origin), **ignored_headers(self.warnings),
                                     **self.waited.headers})
        await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body})

    async def send_stream(self, send: Send, *, usage: bool) -> None:
        """With `usage` every chunk has the field, as OpenAI documents it, and one more chunk counts."""
        stream, empty = Stream(send, ignored_headers(self.warnings)), {"usage": None} if usage else {}
        self.tell = stream.wait
        try:
            async with aclosing(self.events) as events:
                async for n, event in events:
                    self._note(n, event)
                    await stream.begin(origin_headers(self.origin))
                    if choices := self.chunk_choices(n, event):
                        source = self._from() if isinstance(event, Started | Finished) else {}
                        await stream.say(_data({**self._head(self.chunk_kind), **empty, "choices": choices, **source}))
        except HeadwaterError as error:
            if not stream.begun:
                raise
            log.warning("an answer broke off: %s", error)
            await stream.say(_data({"error": {"message": str(error), "type": "server_error", "param": None,
                                              "code": error.code}}), more=False)
            return
        if usage:
            await stream.say(_data({**self._head(self.chunk_kind), "choices": [], "usage": self._usage()}))
        await stream.say("data: [DONE]\n\n", more=False)

    async def _wait(self, position: int) -> None:
        await self.tell(position)

    def _note(self, n: int, event: ChatEvent) -> None:
        if isinstance(event, Started):
            self.origins[n] = event.origin
        elif isinstance(event, Finished):
            self.usages[n] = event.usage
            self.warnings += [warning for warning in event.warnings if warning not in self.warnings]

    @property
    def origin(self) -> Origin:
        """Of the first answer; until it has started, of another with the first one's seed."""
        return self.origins.get(0) or replace(next(iter(self.origins.values())), seed=self.asked[0].seed)

    def _head(self, kind: str) -> dict[str, Any]:
        origin = self.origin
        return {"id": self.id, "object": kind, "created": self.created, "model": f"{origin.repo}@{origin.revision}",
                "system_fingerprint": f"{origin.engine}-{origin.revision[:12]}"}

    def _from(self) -> dict[str, Any]:
        return origin_body(self.origin, self.warnings)

    def _usage(self) -> dict[str, int] | None:
        """All that was written, and each different prompt once. None when an engine did not count."""
        counted = list(self.usages.values())
        if None in counted:
            return None
        prompts = {self.asked[n].prompt: used.prompt_tokens for n, used in self.usages.items()}
        asked, made = sum(prompts.values()), sum(used.completion_tokens for used in counted)
        return {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
