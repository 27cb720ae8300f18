"""The HTTP server around an app: its socket, its limits, its log and how it ends. Knows no route and no hub."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headwater.core.errors import BadInput, Conflict, Unavailable
from headwater.core.settings import Settings

log = logging.getLogger("headwater.access")

HEAD_MAX = 65_536
"""Bytes of a request's first line and headers together; also of what may follow a chunked body."""
KEEP_ALIVE_S = 75
"""Longer than a proxy keeps an idle connection (nginx: 60 s), so that it is never the hub that hangs up first."""
GRACE_S = 5
"""For answers under way when the hub is told to stop."""


class Bounded(HttpToolsProtocol):
    """uvicorn's protocol, which by itself takes headers of any length.

    Counts the bytes that came since the parser last got on: began or ended a request, ended its headers, gave bytes
    of its body. Anything else is being piled up in memory.
    """

    _piled = 0

    def data_received(self, data: bytes) -> None:
        self._piled += len(data)
        super().data_received(data)
        if self._piled > HEAD_MAX and self.transport is not None and not self.transport.is_closing():
            body = b'{"error": "The request\'s headers are longer than 65,536 bytes."}'
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\n"
                                 b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            self.transport.close()

    def on_message_begin(self) -> None:
        self._piled = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._piled = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._piled = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._piled = 0
        super().on_message_complete()


class AccessLog:
    """One line a request, at debug: method, path without its query (signed links are secrets), status, seconds."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not log.isEnabledFor(logging.DEBUG):
            await self.app(scope, receive, send)
            return
        status, began = 0, time.monotonic()

        async def watching(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watching)
        finally:
            client = (scope.get("client") or ("-", 0))[0]
            path = scope["path"].encode("unicode_escape").decode()
            log.debug("%s %s %s %s %.3fs", client, scope["method"], path, status or "broke off",
                      time.monotonic() - began)


class Server(uvicorn.Server):
    """on_start and on_stop are called when it begins to answer and before it ends."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None] | None = None,
                 on_stop: Callable[[], None] | None = None):
        super().__init__(config)
        self._on_start, self._on_stop = on_start, on_stop
        self._settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
            if self.started and self._on_start:
                self._on_start()
        finally:
            self._settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_stop:
            self._on_stop()
        await super().shutdown(sockets)

    def wait_started(self, seconds: float = 60) -> None:
        """From another thread. Raises Unavailable if it does not come up."""
        if not self._settled.wait(seconds) or not self.started:
            raise Unavailable("The hub did not start.", hint="Its log says why; `headwater doctor` may too.")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but without raising the signal again at the end: the process has things to put away."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def configure(app: ASGIApp, settings: Settings, *, lifespan: bool = True) -> uvicorn.Config:
    level: Any = settings.log_level.lower()
    if level not in ("debug", "info", "warning", "error"):
        raise BadInput(f"log_level is {settings.log_level!r}.", hint="It is debug, info, warning or error.")
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("headwater").setLevel(level.upper())
    logging.getLogger("httpx").setLevel("WARNING")  # it logs whole URLs, and signed links are secrets
    return uvicorn.Config(
        AccessLog(app), http=Bounded, ws="none", lifespan="on" if lifespan else "off", access_log=False,
        log_config=None, log_level="warning" if level == "info" else level, server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=GRACE_S)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Conflict for a port in use, BadInput for an address that is not this machine's."""
    if not 0 <= port <= 65_535:
        raise BadInput(f"{port} is no port.", hint="Name one from 1 to 65535 with --port.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"Port {port} is taken by another program.",
                           hint=f"Choose another: `headwater up --port {port + 1}`.") from None
        if error.errno == errno.EACCES:
            raise BadInput(f"Port {port} needs more rights.", hint="Choose one above 1023 with --port.") from None
        raise BadInput(f"Cannot listen on {host!r}: {error.strerror or error}.",
                       hint="--host is an address of this machine, such as 127.0.0.1 or 0.0.0.0.") from None
    listening.setblocking(False)
    return listening
