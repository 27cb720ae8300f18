"""One worker: started confined, watched until it is healthy, stopped for good. Knows nothing of other workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headwater.chat.admission import Plan
from headwater.chat.types import ChatModel
from headwater.core.errors import EngineFailed
from headwater.core.settings import Settings
from headwater.core.types import Endpoint, Snapshot
from headwater.weights.speech import Speech

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger("headwater.worker")

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH",
             "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""All a worker sees of our environment: tokens and passwords stay with us."""
LINES_KEPT, LINES_SHOWN, LINE_MAX = 40, 6, 500
POLL_S = 0.05
TERM_S = 1.0


class WorkerProcess:
    """A running worker process. Made by start()."""

    def __init__(self, model: ChatModel, process: asyncio.subprocess.Process, url: str, key: str, build: str):
        self.model, self._process = model, process
        self.endpoint = Endpoint(url, key, process.pid, model.engine.name, build)
        self.started_at = time.monotonic()
        self.speech: Speech | None = None
        """How the model is spoken with, where that is known."""
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._reading = asyncio.create_task(self._read_log())

    @classmethod
    async def start(cls, model: ChatModel, snapshot: Snapshot, settings: Settings, http: aiohttp.ClientSession,
                    plan: Plan, adapters: Sequence[Path] = (), told: Mapping[str, str] | None = None,
                    build: str | None = None) -> WorkerProcess:
        """A worker that has answered /health. told: more for its environment. build: what it computes with.

        Raises EngineFailed with its last lines; leaves no process then.
        """
        port, key = free_port(), secrets.token_urlsafe(24)
        argv = model.engine.command(snapshot, model.path, port=port, threads=threads(settings),
                                    context=plan.context, **({"adapters": adapters} if adapters else {}))
        # an engine may hand its worker more, such as the key of the one remote it asks
        extra = getattr(model.engine, "environment", lambda *_: {})(settings, snapshot, model.path)
        confine = str(Path(__file__).with_name("confine.py"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", confine, str(os.getpid()), str(memory(settings)), *argv,
            env={**environment(key, plan.slots), **(told or {}), **extra}, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True)
        worker = cls(model, process, f"http://127.0.0.1:{port}", key, build or build_in(model, settings))
        try:
            await worker._until_healthy(http, settings.worker_start_s)
        except BaseException:
            await worker.stop(kindly=False)
            raise
        return worker

    async def ended(self) -> int:
        """Wait until the process has ended and its log is read; its return code."""
        code = await self._process.wait()
        await self._reading
        return code

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def stop(self, kindly: bool = True) -> None:
        """End the process and whatever it started. Returns when it is gone."""
        if kindly and self.alive:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), TERM_S)
        self._signal(signal.SIGKILL)
        await self.ended()

    def failure(self, what: str) -> EngineFailed:
        """An error that says what happened, with the last lines of the log."""
        lines = [line for line in self._lines if line.strip()][-LINES_SHOWN:]
        said = " It said last:\n" + "\n".join(lines) if lines else " It said nothing."
        return EngineFailed(f"The {self.endpoint.engine} worker of {self.model.repo.full_name} {what}.{said}")

    async def _until_healthy(self, http: aiohttp.ClientSession, seconds: float) -> None:
        import aiohttp

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.alive:
                code = await self.ended()
                raise self.failure(f"did not start ({_ending(code)})")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{self.endpoint.url}/health", timeout=aiohttp.ClientTimeout(total=2)) as answer:
                    if answer.status == 200 and self._listens():
                        return
            await asyncio.sleep(POLL_S)
        raise self.failure(f"was not ready after {seconds} s (worker_start_s)")

    def _listens(self) -> bool:
        """Whether it is our worker that answers on the port: another who took it first must not get the key."""
        import psutil

        port = urlsplit(self.endpoint.url).port
        try:
            worker = psutil.Process(self._process.pid)
            return any(heard.laddr.port == port and heard.status == psutil.CONN_LISTEN
                       for process in (worker, *worker.children(recursive=True))
                       for heard in process.net_connections(kind="tcp"))
        except psutil.AccessDenied:  # a system that does not let us look at our own child
            return True
        except psutil.NoSuchProcess:
            return False

    async def _read_log(self) -> None:
        stream, rest = self._process.stdout, ""
        while chunk := await stream.read(4096):
            *lines, rest = (rest + chunk.decode("utf-8", "replace")).split("\n")
            rest = rest[:LINE_MAX]
            for line in lines:
                self._lines.append(line[:LINE_MAX])
                log.debug("%s: %s", self.endpoint.pid, line[:LINE_MAX])
        self._lines.append(rest)

    def _signal(self, number: int) -> None:
        # its own session, so the group is the worker and its children, and never ourselves
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def build_in(model: ChatModel, settings: Settings) -> str:
    """The build a worker of this model would be started with now. An engine that has but one has no build_in()."""
    choose = getattr(model.engine, "build_in", None)
    return choose(settings) if choose else model.engine.build()


def settings_for(model: ChatModel, snapshot: Snapshot, settings: Settings) -> Settings:
    """The settings this model is run with: an engine may know that some do not work for it."""
    choose = getattr(model.engine, "settings_for", None)
    return choose(settings, snapshot, model.path) if choose else settings


def environment(key: str, slots: int = 0) -> dict[str, str]:
    """slots: requests the worker is to compute at once; 0 leaves it to the engine."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "HEADWATER_WORKER_KEY": key, "HEADWATER_WORKER_SLOTS": str(slots)}


def threads(settings: Settings, load: float | None = None) -> int:
    """One less than the cores we may use, at least one: two workers at full width starve each other.

    On a machine with work (load: processes that ran of late, None to ask the system) only the cores that are free,
    but half of them at least: the load may pass, and a worker keeps its threads until it is unloaded.
    """
    if settings.worker_threads:
        return settings.worker_threads
    cores = _cores()
    if load is None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores // 2, min(cores - 1, round(cores - load)))


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup, or "max": no quota
        return cores


def memory(settings: Settings) -> int:
    """Bytes of address space a worker may take."""
    if settings.worker_memory_bytes:
        return settings.worker_memory_bytes
    import psutil

    return psutil.virtual_memory().total * 8 // 10


def free_port() -> int:
    """A port nobody listens on now. Should another take it first, the worker ends and the next start picks anew."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
