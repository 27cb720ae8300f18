"""The hub as a process of its own, for tests that kill it: python hub_process.py DATA FLAGS(JSON).

Prints the port it listens on as the first line. It is the app as `headwater up` serves it, on a free port.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from headwater.app import open_app
from headwater.core.settings import load


def tell(port: int) -> None:
    print(port, flush=True)


def main(data: str, flags: str, tell: Callable[[int], None] = tell) -> None:
    settings = load(Path(data), json.loads(flags))
    app = open_app(settings)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", settings.port))
    tell(listening.getsockname()[1])
    config = uvicorn.Config(app.http, log_level="warning", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
