"""A server that speaks just enough of the Hub's API for one repo, and can break, lie and redirect."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from typing import Any
from urllib.parse import unquote

from headwater.hub.git import object_id


class FakeHub:
    """Just enough of the Hub's API for one repo, and the ways it can go wrong."""

    def __init__(self, files: dict[str, bytes], name: str = "01-ai/Yi-tiny"):
        self.files, self.name, self.sha = files, name, "a" * 40
        self.lfs = {path for path, data in files.items() if b"\0" in data}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.break_after: dict[str, list[int]] = {}
        self.redirect_to: str | None = None
        self.serve_instead: dict[str, bytes] = {}
        self.ignore_ranges = False
        self.info: dict[str, Any] = {}
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                outer.answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients hang up on it, and are killed
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, to: http.server.BaseHTTPRequestHandler) -> None:
        path = unquote(to.path.partition("?")[0])
        if path.startswith(f"/api/models/{self.name}/revision/"):
            return self.send(to, json.dumps({"id": self.name, "sha": self.sha, **self.info}).encode())
        if path.startswith(f"/api/models/{self.name}/tree/"):
            return self.send(to, json.dumps([self.item(path) for path in self.files]).encode())
        wanted = path.partition(f"/resolve/{self.sha}/")[2]
        if wanted not in self.files:
            return self.send(to, b"{}", 404)
        if self.redirect_to is not None:
            return self.send(to, b"", 302, {"Location": self.redirect_to.format(path=to.path)})
        return self.file(to, wanted)

    def item(self, path: str) -> dict[str, Any]:
        data = self.files[path]
        item = {"type": "file", "path": path, "size": len(data), "oid": object_id("blob", data), "xetHash": "f" * 64}
        if path in self.lfs:
            item["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return item

    def file(self, to: http.server.BaseHTTPRequestHandler, path: str) -> None:
        data = self.serve_instead.get(path, self.files[path])
        start = 0
        if (asked := to.headers.get("range")) and not self.ignore_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers = {"X-Xet-Hash": "f" * 64}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body, cuts = data[start:], self.break_after.get(path)
        if cuts:
            cut = cuts.pop(0)
            self.send(to, body[:cut], 206 if start else 200, headers, length=len(body))
            to.close_connection = True
            to.connection.shutdown(2)
            return
        self.send(to, body, 206 if start else 200, headers)

    def send(self, to: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200,
             headers: dict[str, str] | None = None, length: int | None = None) -> None:
        to.send_response(status)
        for name, value in {"Content-Length": str(len(body) if length is None else length), **(headers or {})}.items():
            to.send_header(name, value)
        to.end_headers()
        try:
            half = len(body) // 2
            to.wfile.write(body[:half])
            if "/resolve/" in to.path:
                self.gate.wait(30)
            to.wfile.write(body[half:])
        except (BrokenPipeError, ConnectionResetError):
            to.close_connection = True

    def asked(self, part: str) -> list[dict[str, str]]:
        return [headers for path, headers in self.requests if part in path]
