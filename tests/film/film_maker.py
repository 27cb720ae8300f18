"""A server with /v1/videos that can be slow, break, lie and redirect: what a film may be ordered from."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Maker:
    """orders: what was ordered, by id. calls: (method, path, headers) of every request. instead: path prefix to what
    is done in place of the usual answer. ready: whether films are made."""

    def __init__(self, video: bytes):
        self.forget(video)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            do_POST = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            handle_error = staticmethod(lambda *_: None)  # who asks hangs up on it, and is killed

        self._kinds = Server, Handler
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._run()

    def forget(self, video: bytes) -> None:
        """As new."""
        self.video = video
        self.orders: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.deleted: list[str] = []
        self.instead: dict[tuple[str, str], Callable[[BaseHTTPRequestHandler], None]] = {}
        self.ready, self.keeps_list, self.says_words = threading.Event(), True, True
        self.ready.set()

    def _run(self) -> None:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def again(self) -> None:
        """Up again at the same port."""
        server, handler = self._kinds
        self.server = server(("127.0.0.1", self.port), handler)
        self._run()

    def posts(self) -> int:
        return sum(method == "POST" for method, *_ in self.calls)

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        path = urlsplit(to.path).path
        self.calls.append((to.command, to.path, {name.lower(): value for name, value in to.headers.items()}))
        body = to.rfile.read(int(to.headers.get("content-length") or 0))
        for (method, prefix), act in list(self.instead.items()):
            if method == to.command and path.startswith(prefix):
                if to.command == "POST":
                    self.taken(to, body)
                return act(to)
        number = path.removeprefix("/v1/videos").strip("/")
        if to.command == "POST":
            return send(to, self.shown(self.taken(to, body)))
        if not number:
            return self.listed(to) if self.keeps_list else send(to, {"detail": "Not Found"}, 404)
        number, _, content = number.partition("/")
        if number not in self.orders:
            return send(to, {"error": {"message": f"no video {number}"}}, 404)
        if to.command == "DELETE":
            self.deleted.append(number)
            return send(to, {"id": number, "deleted": True})
        if content:
            return send(to, self.video, kind="video/mp4")
        return send(to, self.shown(number), headers={"openai-poll-after-ms": "200"})

    def taken(self, to: BaseHTTPRequestHandler, body: bytes) -> str:
        fields = form(to.headers.get("content-type", ""), body)
        number = f"video_{len(self.orders) + 1}"
        self.orders[number] = fields
        return number

    def shown(self, number: str) -> dict[str, Any]:
        made = self.ready.is_set()
        if not self.says_words:
            return {"id": number}
        return {"id": number, "object": "video", "status": "completed" if made else "in_progress",
                "progress": 100 if made else 40, "prompt": self.orders[number].get("prompt", ""), "model": "maker-1"}

    def listed(self, to: BaseHTTPRequestHandler) -> None:
        asked = parse_qs(urlsplit(to.path).query)
        numbers = list(reversed(self.orders))[: int(asked["limit"][0])]
        send(to, {"object": "list", "data": [self.shown(number) for number in numbers], "has_more": False})


def form(kind: str, body: bytes) -> dict[str, Any]:
    """The fields of a multipart body; files as bytes."""
    edge = kind.partition("boundary=")[2].encode()
    fields: dict[str, Any] = {}
    for part in body.split(b"--" + edge)[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        value = value.removesuffix(b"\r\n")
        fields[name] = value if b"filename=" in head else value.decode()
    return fields


def send(to: BaseHTTPRequestHandler, what: Any, status: int = 200, kind: str = "application/json",
         headers: dict[str, str] | None = None) -> None:
    data = what if isinstance(what, bytes) else json.dumps(what).encode()
    to.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
        to.send_header(name, value)
    to.end_headers()
    to.wfile.write(data)


def hang_up(to: BaseHTTPRequestHandler) -> None:
    to.close_connection = True
    to.connection.close()


def endless(to: BaseHTTPRequestHandler) -> None:
    to.send_response(200)
    to.send_header("Content-Length", str(10**12))
    to.end_headers()
    for _ in range(200):
        to.wfile.write(b"\0" * 1_000_000)
        time.sleep(0.001)


def elsewhere(url: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda to: send(to, b"", 302, headers={"Location": url})
