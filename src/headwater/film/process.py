"""A film engine at work in a process of its own: the frames it makes, as they come.

The other end is film_engines/_worker.py, which says what goes over the pipes. This end starts it with no secrets in
its environment, hears its messages, and kills it when the caller is done with it, whatever happened.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from headwater.core.errors import BadInput, EngineFailed, HeadwaterError, TooLarge
from headwater.core.film import FilmRequest, Step

SILENCE_S = 600.0
"""A worker that says nothing for so long is taken for hung."""
LINES = 12
AHEAD = 4
"""Messages read ahead of the caller: a slow encoder makes the engine wait."""

Message = tuple[bytes, bytes]


def frames(request: FilmRequest, tell: Callable[[Step], None], should_stop: Callable[[], bool], *,
           memory_bytes: int) -> Iterator[np.ndarray]:
    """uint8 (height, width, 3) RGB, one by one. `tell` may raise to give the film up; should_stop() ends it early.

    Raises what the engine raised (BadInput, TooLarge, ...), EngineFailed with its last lines when it died or hung.
    """
    with tempfile.TemporaryFile() as log, _worker(request, memory_bytes, log) as worker:
        step, asked = Step("start", 0, request.frames), False
        for kind, data in _messages(worker):
            if should_stop() and not asked:
                asked = True
                _say(worker, b"stop\n")
            if kind == b"F":
                yield np.frombuffer(data, np.uint8).reshape(request.height, request.width, 3)
            elif kind == b"S":
                step = Step(**json.loads(data))
                tell(step)
            elif kind == b"P":
                tell(Step(step.stage, step.i, step.n, data))
            elif kind == b"E":
                raise _error(json.loads(data))
            else:
                return
        raise EngineFailed(f"The film engine {request.engine} stopped before the film was whole. {_tail(log)}",
                           hint="Start the film again; the same seed makes the same film.")


@contextmanager
def _worker(request: FilmRequest, memory_bytes: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir(), "PYTHONUTF8": "1",
                   "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    worker = subprocess.Popen([sys.executable, "-I", "-m", "headwater.film_engines._worker", str(memory_bytes)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, cwd="/")
    try:
        _say(worker, request.to_json().encode() + b"\n")
        yield worker
    finally:
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what was still to be said to it is not needed any more
                    continue


def _messages(worker: subprocess.Popen[bytes]) -> Iterator[Message]:
    """What the worker says, until it ends. A thread reads, so that silence can be told from work."""
    heard: queue.Queue[Message | None] = queue.Queue(AHEAD)
    done = threading.Event()

    def put(message: Message | None) -> bool:
        while not done.is_set():
            try:
                heard.put(message, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        out = worker.stdout
        assert out is not None
        while len(head := out.read(5)) == 5:
            size = int.from_bytes(head[1:], "little")
            if len(data := out.read(size)) < size or not put((head[:1], data)):
                break
        put(None)

    threading.Thread(target=read, daemon=True, name="film-pipe").start()
    try:
        while (message := heard.get(timeout=SILENCE_S)) is not None:
            yield message
    except queue.Empty:
        raise EngineFailed(f"The film engine has said nothing for {SILENCE_S:.0f} s and was stopped.") from None
    finally:
        done.set()


def _say(worker: subprocess.Popen[bytes], line: bytes) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(line)
        worker.stdin.flush()
    except BrokenPipeError:  # it has ended; its last message or its log says why
        return


def _error(said: dict[str, Any]) -> HeadwaterError:
    kinds: dict[str, type[HeadwaterError]] = {"TooLarge": TooLarge, "EngineFailed": EngineFailed}
    return kinds.get(said["code"], BadInput)(said["message"], hint=said["hint"])


def _tail(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - 4_000))
    lines = log.read().decode(errors="replace").strip().splitlines()[-LINES:]
    return "Its last lines:\n" + "\n".join(lines) if lines else "It left no word."
