"""Hubs born of a process that has imported everything: 0.1 s each instead of 1.5 s. The other end is hub_nursery.py.

One nursery for each of pytest's processes, started when the first hub is asked for. It knows nothing of what a hub is
told or asked: see server.HubProcess.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("hub_nursery.py")


def hub_environ() -> dict[str, str]:
    """Ours, without anything that speaks of a hub."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("HEADWATER_", "HF_"))}


class Nursery:
    def __init__(self) -> None:
        # A session of its own: a Ctrl-C is for pytest, which ends its hubs one by one.
        self._process = subprocess.Popen([sys.executable, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         env=hub_environ(), text=True, start_new_session=True)
        self._one = threading.Lock()

    def ask(self, **line: Any) -> dict[str, Any]:
        with self._one:
            print(json.dumps(line), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        assert answer, "the nursery of hubs has ended; what it said is on stderr"
        return json.loads(answer)

    def hub(self, data: Path, flags: dict[str, Any], log: Path) -> tuple[Forked, str]:
        """(the process, its port; empty when it ended before it had one)."""
        born = self.ask(data=str(data), flags=flags, log=str(log), environ=hub_environ(), cwd=os.getcwd())
        return Forked(self, born["pid"]), born["port"]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@functools.cache
def nursery() -> Nursery:
    made = Nursery()
    atexit.register(made.close)
    return made


class Forked:
    """What subprocess.Popen has, of a child of the nursery."""

    def __init__(self, parent: Nursery, pid: int):
        self._parent, self.pid, self.returncode = parent, pid, None

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float) -> int:
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(str(PROGRAM), timeout)
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def _ended(self, seconds: float) -> int | None:
        if self.returncode is None:
            self.returncode = self._parent.ask(wait=self.pid, seconds=seconds)["status"]
        return self.returncode
