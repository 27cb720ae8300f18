"""Starts hubs quickly, to be killed: imports the app once, then forks a child for each line of stdin.

A line in: JSON {"data": folder, "flags": {...}, "log": file}. A line out: JSON {"pid": ..., "port": ...}. The child is
the whole hub, opened after the fork; only the second of importing is saved.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from starlette.testclient import TestClient

import headwater.app
from headwater.core.settings import load


def serve(data: str, flags: dict[str, object], listening: socket.socket, log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    app = headwater.app.open_app(load(Path(data), flags, environ={}))
    config = uvicorn.Config(app.http, log_level="warning", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listening])


def warm() -> None:
    """Open a throwaway hub and ask it something, so that what is imported late is imported before the forks."""
    with tempfile.TemporaryDirectory() as folder:
        app = headwater.app.open_app(load(Path(folder), {}, environ={}))
        TestClient(app.http, client=("127.0.0.1", 1), base_url="http://127.0.0.1").get("/api/models")
        app.records.close()
    assert threading.active_count() == 1, "a fork would lose these threads"


def main() -> None:
    warm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # killed children are not waited for
    for asked in sys.stdin:
        told = json.loads(asked)
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            try:
                serve(told["data"], told["flags"], listening, told["log"])
            finally:
                os._exit(0)
        print(json.dumps({"pid": child, "port": listening.getsockname()[1]}), flush=True)
        listening.close()


if __name__ == "__main__":
    main()
