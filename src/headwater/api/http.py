"""What stands between the socket and the routes: segments kept whole, safe headers, a limit on requests."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))


class KeepSegments:
    """Routes by the path as it was sent: a %2F inside a segment stays inside it.

    Clients quote revisions such as refs/pr/1 whole, and the server unquotes before routing. So '/' and '%' that
    came quoted are quoted again; api.deps.segment undoes that where the value is used.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"%" in (raw := scope.get("raw_path") or b""):
            steps = raw.split(b"?")[0].decode("latin-1").split("/")
            scope = {**scope, "path": "/".join(_requote(unquote(step)) for step in steps)}
        await self.app(scope, receive, send)


def _requote(step: str) -> str:
    return step.replace("%", "%25").replace("/", "%2F")


class SafeHeaders:
    """Adds the headers every answer carries, unless the route set its own."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in _SAFE_HEADERS if h[0] not in there)]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


# Uploads come to these with signed tickets, which nobody can guess, and in as many requests as there are files: a
# Xet client asks of each file's first chunk whether it is known, and fails the push when a xorb is put off too often.
_TICKETED = ("/api/headwater/xet/", "/api/headwater/lfs/")


class RateLimit:
    """A token bucket per address. Loopback is not limited, nor are bytes that come with a signed ticket.

    per_minute: 0 means no limit. Holds at most 10,000 buckets; the one unused for longest is forgotten first.
    """

    def __init__(self, app: ASGIApp, per_minute: int):
        self.app, self.per_minute = app, per_minute
        self._buckets: dict[Any, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.per_minute or self._allow(scope):
            await self.app(scope, receive, send)
            return
        headers = [(b"retry-after", b"5"), (b"content-type", b"application/json"), (b"x-error-code", b"Busy")]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"error": "Too many requests; wait a little."}'})

    def _allow(self, scope: Scope) -> bool:
        address = (scope.get("client") or ("", 0))[0]
        if scope["path"].startswith(_TICKETED):
            return True
        if address in ("127.0.0.1", "::1") and not any(k == b"x-forwarded-for" for k, _ in scope["headers"]):
            return True
        # By address even when a token is sent: a stranger may send a new wrong token with every request.
        now = time.monotonic()
        left, since = self._buckets.pop(address, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - since) * self.per_minute / 60)
        self._buckets[address] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > 10_000:
            self._buckets.pop(next(iter(self._buckets)))
        return left >= 1
