"""A film engine at work in a process of its own: the frames it makes, as they come.

The other end is film_engines/_worker.py, which says what goes over the pipes. This end starts it with no secrets in
its environment, hears its messages, and kills it when the caller is done with it, whatever happened; the process of an
engine that holds a model goes back to `Warm` instead, for the next film.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import BadInput, CorruptFile, EngineFailed, HeadwaterError, TooLarge
from headwater.core.film import FilmRequest, Step

SILENCE_S = 600.0
"""A worker that says nothing for so long is taken for hung."""
TICK_S = 1.0
"""How often the caller is asked, in silence, whether it still wants the film."""
GRACE_S = 5.0
"""What a warm engine is given to end what was cancelled, beside twice its longest step."""
LINES = 12
AHEAD = 4
"""Messages read ahead of the caller: a slow encoder makes the engine wait."""
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""Of the environment: what programs and graphics cards are found by. No secret is among them."""

Message = tuple[bytes, bytes]


def frames(request: FilmRequest, tell: Callable[[Step], None], should_stop: Callable[[], bool], *,
           memory_bytes: int, threads: int = 1, warm: Warm | None = None) -> Iterator[np.ndarray]:
    """uint8 (height, width, 3) RGB, one by one.

    `tell` may raise to give the film up; in silence the last step is told again, so that it may. should_stop() true:
    what there is is kept (core.film.FilmEngine.frames). threads: to compute with. warm: where the engine's process is
    kept, for engines that hold a model.

    Raises what the engine raised (BadInput, TooLarge, ...), EngineFailed with its last lines when it died or hung.
    """
    try:
        yield from _frames(request, tell, should_stop, memory_bytes, threads, warm)
    except _Unheard:  # the kept process died while nothing was asked of it, and may not look dead for some moments
        yield from _frames(request, tell, should_stop, memory_bytes, threads, warm)


class _Unheard(EngineFailed):
    """A process that was kept ended without a word about this film."""


def _frames(request: FilmRequest, tell: Callable[[Step], None], should_stop: Callable[[], bool], memory_bytes: int,
            threads: int, warm: Warm | None) -> Iterator[np.ndarray]:
    worker = warm.take(memory_bytes, threads) if warm else Worker(memory_bytes, threads)
    ended = heard = False
    try:
        worker.say(request.to_json().encode() + b"\n")
        step, asked = Step("start", 0, request.frames), False
        for message in worker.messages():
            if should_stop() and not asked:
                asked = True
                worker.say(b"stop\n")
            kind, data = message or (b"", b"")
            heard = heard or message is not None
            if message is None:
                tell(step)
            elif kind == b"F":
                yield np.frombuffer(data, np.uint8).reshape(request.height, request.width, 3)
            elif kind == b"S":
                step = Step(**json.loads(data))
                tell(step)
            elif kind == b"P":
                tell(Step(step.stage, step.i, step.n, data))
            elif kind == b"E":
                error = _error(json.loads(data))
                ended = not isinstance(error, TooLarge | EngineFailed)
                if not ended:
                    worker.close()  # what is left of it is not to be trusted
                raise error
            else:
                ended = True
                return
        raise (EngineFailed if heard or not worker.kept else _Unheard)(
            f"The film engine {request.engine} stopped before the film was whole. {worker.tail()}",
            hint="Start the film again; the same seed makes the same film.")
    finally:
        if warm:
            warm.give_back(worker, ended)
        else:
            worker.close()


class Worker:
    """The process and what is heard of it. A thread reads, so that silence can be told from work. kept: it has made
    films before this one."""

    def __init__(self, memory_bytes: int, threads: int = 1, cache: Path | None = None):
        self.limits = (memory_bytes, threads)
        self.longest_s = 0.0
        self.kept = False
        environment = {"HOME": tempfile.gettempdir(), "PYTHONUTF8": "1", "OMP_NUM_THREADS": str(threads),
                       "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
                       **({"HEADWATER_FILM_CACHE": str(cache)} if cache else {}),
                       **{name: os.environ[name] for name in PASSED_ON if name in os.environ}}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (close() closes it)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "headwater.film_engines._worker", str(memory_bytes)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._log, env=environment, cwd="/")
        self._heard: queue.Queue[Message | None] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        threading.Thread(target=self._read, daemon=True, name="film-pipe").start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it has ended; its last message or its log says why
            return

    def messages(self) -> Iterator[Message | None]:
        """What it says, until it ends; None whenever it has said nothing for TICK_S."""
        heard_at = time.monotonic()
        while True:
            try:
                message = self._heard.get(timeout=TICK_S)
            except queue.Empty:
                if time.monotonic() - heard_at > SILENCE_S:
                    raise EngineFailed(f"The film engine has said nothing for {SILENCE_S:.0f} s and was "
                                       "stopped.") from None
                yield None
                continue
            if message is None:
                return
            if message[0] == b"S":
                self.longest_s = max(self.longest_s, time.monotonic() - heard_at)
            yield message
            heard_at = time.monotonic()

    def ends_soon(self) -> bool:
        """After `cancel`: whether it said within two steps that it is ready for the next film."""
        until = time.monotonic() + GRACE_S + 2 * self.longest_s
        while (left := until - time.monotonic()) > 0 and not self._closed.is_set():
            try:
                message = self._heard.get(timeout=left)
            except queue.Empty:
                return False
            if message is None:
                return False
            if message[0] in b"QE":
                return True
        return False

    def tail(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 4_000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()[-LINES:]
        return "Its last lines:\n" + "\n".join(lines) if lines else "It left no word."

    def forget_log(self) -> None:
        """A process that lives for weeks must not fill the disk. It shares the place where it is written."""
        self._log.seek(0)
        self._log.truncate()

    def close(self) -> None:
        self._closed.set()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what was still to be said to it is not needed any more
                    continue

    def _read(self) -> None:
        out = self._process.stdout
        assert out is not None
        try:
            while len(head := out.read(5)) == 5:
                size = int.from_bytes(head[1:], "little")
                if len(data := out.read(size)) < size or not self._put((head[:1], data)):
                    break
        except ValueError:  # closed while it was read
            pass
        self._put(None)

    def _put(self, message: Message | None) -> bool:
        while not self._closed.is_set():
            try:
                self._heard.put(message, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False


class Warm:
    """Keeps one engine's process between films, for idle_s seconds. One film at a time; a second one waits.

    cache: a folder where engines keep what can be computed again, for processes that come later.
    """

    def __init__(self, idle_s: float, cache: Path | None = None):
        self.idle_s, self.cache = idle_s, cache
        self._turn = threading.Lock()
        self._kept: Worker | None = None
        self._timer: threading.Timer | None = None

    def take(self, memory_bytes: int, threads: int) -> Worker:
        """The kept one, if it lives and has these limits, else a new one. To be given back."""
        self._turn.acquire()
        try:
            if self._timer is not None:
                self._timer.cancel()
            worker, self._kept = self._kept, None
            if worker is not None and worker.alive() and worker.limits == (memory_bytes, threads):
                worker.forget_log()
                worker.kept = True
                return worker
            if worker is not None:
                worker.close()
            return Worker(memory_bytes, threads, self.cache)
        except BaseException:
            self._turn.release()
            raise

    def give_back(self, worker: Worker, ended: bool) -> None:
        """ended: its film came to an end, so it can make another. Otherwise it is told to cancel; when it does not
        within two steps, it is killed. The caller need not wait for that."""
        if ended:
            self._keep(worker)
        else:
            worker.say(b"cancel\n")
            threading.Thread(target=self._settle, args=(worker,), daemon=True, name="film-cancel").start()

    def close(self) -> None:
        """Let go of what is kept; a film under way ends by itself."""
        if self._turn.acquire(timeout=GRACE_S):
            self._let_go()

    def _settle(self, worker: Worker) -> None:
        if worker.ends_soon():
            self._keep(worker)
        else:
            worker.close()
            self._turn.release()

    def _keep(self, worker: Worker) -> None:
        self._kept = worker
        self._timer = threading.Timer(self.idle_s, self._idle)
        self._timer.daemon = True
        self._timer.start()
        self._turn.release()

    def _idle(self) -> None:
        if self._turn.acquire(blocking=False):  # otherwise it is in use
            self._let_go()

    def _let_go(self) -> None:
        try:
            worker, self._kept = self._kept, None
            if worker is not None:
                worker.close()
        finally:
            self._turn.release()


def _error(said: dict[str, Any]) -> HeadwaterError:
    kinds: dict[str, type[HeadwaterError]] = {"TooLarge": TooLarge, "EngineFailed": EngineFailed,
                                              "CorruptFile": CorruptFile}
    return kinds.get(said["code"], BadInput)(said["message"], hint=said["hint"])
