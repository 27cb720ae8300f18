"""Starts hubs quickly: imports the app once, then forks a child for each hub asked for. Its client is nursery.py.

A line of stdin is JSON, and so is the line of stdout that answers it:

    {"data": folder, "flags": {...}, "log": file, "environ": {...}, "cwd": folder}
        a hub as hub_process.py serves it, opened after the fork, so that only importing is saved. The answer comes
        when it listens: {"pid": ..., "port": "..."}; the port is "" when it ended before that, and the log says why
    {"wait": pid, "seconds": s}
        {"status": n}: its exit status as subprocess has it, null if it lives still after so many seconds
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from hub_process import main as serve
from starlette.testclient import TestClient

import headwater.app
from headwater.core.settings import load


def warm() -> None:
    """Open a throwaway hub and ask it something, so that what is imported late is imported before the forks."""
    with tempfile.TemporaryDirectory() as folder:
        app = headwater.app.open_app(load(Path(folder), {}, environ={}))
        TestClient(app.http, client=("127.0.0.1", 1), base_url="http://127.0.0.1").get("/api/models")
        app.records.close()
    assert threading.active_count() == 1, "a fork would lose these threads"
    gc.collect()
    gc.freeze()  # children share the pages of what was imported


def born(asked: dict[str, Any]) -> dict[str, Any]:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        live(asked, writes)
    os.close(writes)
    with os.fdopen(reads) as said:
        return {"pid": child, "port": said.readline().strip()}


def live(asked: dict[str, Any], writes: int) -> None:
    """What a child does: everything as if it had been started by itself. Never returns."""
    status = 1
    try:
        os.setsid()
        log, nothing = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), os.open(os.devnull, os.O_RDONLY)
        for there, own in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(there, own)
        os.environ.clear()
        os.environ.update(asked["environ"])
        os.chdir(asked["cwd"])
        tempfile.tempdir = None  # chosen by the environment, and kept since warm()

        def tell(port: int) -> None:
            os.write(writes, b"%d\n" % port)
            os.close(writes)

        serve(asked["data"], json.dumps(asked["flags"]), tell)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def waited(pid: int, seconds: float, gone: dict[int, int]) -> int | None:
    until = time.monotonic() + seconds
    while pid not in gone:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            gone[pid] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > until:
            return None
        else:
            time.sleep(0.002)
    return gone[pid]


def main() -> None:
    warm()
    gone: dict[int, int] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        answer = {"status": waited(asked["wait"], asked["seconds"], gone)} if "wait" in asked else born(asked)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
