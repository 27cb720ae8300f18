"""The program film engines run in, started by film/process.py: requests come in, frames and news go out.

    python -I -m headwater.film_engines._worker MEMORY_BYTES

In, on standard input, a line each: a request (FilmRequest.to_json); while it is worked on, perhaps `stop`: keep what
there is, or `cancel`: make no more of it. Out, on standard output, messages of a letter, a length (four bytes,
little-endian) and that many bytes: S a step as JSON, P a JPEG that shows it, F a frame's raw RGB bytes (height and
width are the request's), and once for each request, last: E an error as JSON {code, message, hint}, or Q. After that
the next request may come; what an engine has loaded stays. When standard input ends, so does the worker.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import sys
import threading
import time
from typing import BinaryIO

from headwater.core.errors import CorruptFile, HeadwaterError, TooLarge
from headwater.core.film import FilmRequest, GivenUp, Step, is_warm
from headwater.film_engines import FILM_ENGINES

REQUEST_MAX = 1_000_000
ALIVE_S = 10.0
"""A step told again after so long is passed on: a sign of life within a long step."""


class _Order:
    """A request, and what was said of it since."""

    def __init__(self, line: bytes):
        self.line = line
        self.stop, self.cancel = threading.Event(), threading.Event()


def main() -> None:
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints goes to the log, not between the messages
    orders: queue.Queue[_Order] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    while True:
        order = orders.get()
        try:
            request = FilmRequest.from_json(order.line.decode())
            _limit(request.engine, memory)
            _film(request, order, out)
        except GivenUp:
            _send(out, b"Q", b"")
        except HeadwaterError as error:
            _fail(out, error)
        except MemoryError:
            _fail(out, TooLarge(f"The film needs more than the {memory >> 20} MiB it may use.",
                                hint="Ask for a smaller size or fewer seconds."))
        except (ValueError, KeyError, OSError) as error:  # what libraries say of pictures and models they cannot read
            _fail(out, CorruptFile(f"The engine could not go on: {type(error).__name__}: {error}"))


def _limit(engine: str, memory: int) -> None:
    """Libraries that hold models reserve far more addresses than they use, so there only what is written counts."""
    kind = resource.RLIMIT_DATA if is_warm(FILM_ENGINES[engine]) else resource.RLIMIT_AS
    resource.setrlimit(kind, (memory, memory))


def _film(request: FilmRequest, order: _Order, out: BinaryIO) -> None:
    last, told_at, begun = None, 0.0, False

    def tell(step: Step) -> None:
        nonlocal last, told_at, begun
        if order.cancel.is_set():
            raise GivenUp
        begun = begun or (step.stage == "denoise" and step.i > 0)
        now = time.monotonic()
        if step == last and now - told_at < ALIVE_S:
            return
        last, told_at = step, now
        _send(out, b"S", json.dumps({"stage": step.stage, "i": step.i, "n": step.n}).encode())
        if step.preview is not None:
            _send(out, b"P", step.preview)

    def should_stop() -> bool:  # something must be there to be kept
        return begun and order.stop.is_set()

    for frame in FILM_ENGINES[request.engine].frames(request, tell, should_stop):
        if frame.shape != (request.height, request.width, 3):
            raise CorruptFile(f"{request.engine} made a frame of {frame.shape}, asked for "
                              f"{(request.height, request.width, 3)}.")
        _send(out, b"F", frame.tobytes())
        begun = True
    _send(out, b"Q", b"")


def _listen(orders: queue.Queue[_Order]) -> None:
    """Standard input at its end means that nobody waits any more."""
    order = None
    while line := sys.stdin.buffer.readline(REQUEST_MAX):
        if line.startswith(b"{"):
            order = _Order(line)
            orders.put(order)
        elif order is not None and line.strip() == b"stop":
            order.stop.set()
        elif order is not None and line.strip() == b"cancel":
            order.cancel.set()
    os._exit(3)


def _fail(out: BinaryIO, error: HeadwaterError) -> None:
    _send(out, b"E", json.dumps({"code": error.code, "message": error.message, "hint": error.hint}).encode())


def _send(out: BinaryIO, kind: bytes, data: bytes) -> None:
    whole = memoryview(kind + len(data).to_bytes(4, "little") + data)
    while whole:  # a raw pipe may take less than it is given
        whole = whole[out.write(whole):]


if __name__ == "__main__":
    main()
