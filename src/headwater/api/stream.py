"""An answer sent piece by piece, on any face. Its head goes out with the first thing said. Knows nothing of models."""

from __future__ import annotations

import json
from typing import Any

from starlette.types import Send

from headwater.api.origin import stream_headers


class Stream:
    """Server-sent events, or lines of JSON with `media_type`. begun: the head is out, so errors go into the stream.

    headers: what is known before a model has the request.
    """

    def __init__(self, send: Send, headers: dict[str, str], media_type: str = "text/event-stream"):
        self._send, self._headers, self._media_type = send, headers, media_type
        self.begun = False

    async def begin(self, headers: dict[str, str]) -> None:
        """Send the head, once; a stream that has waited names its origin only in its events."""
        if not self.begun:
            self.begun = True
            await self._send({"type": "http.response.start", "status": 200,
                              "headers": stream_headers({**self._headers, **headers}, self._media_type)})

    async def say(self, text: str, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": more})

    async def event(self, event: dict[str, Any], more: bool = True) -> None:
        """A server-sent event named by its type."""
        await self.say(f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n", more)

    async def wait(self, position: int) -> None:
        """Tell the place in the queue, in a comment that every client of server-sent events passes over."""
        await self.begin({})
        await self.say(f": headwater.queue {position}\n\n")


class Waited:
    """Of an answer sent whole: the place its request was told first, or none."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    async def __call__(self, position: int) -> None:
        self.headers.setdefault("X-Headwater-Queue", str(position))
