"""The program a film engine runs in, started by film/process.py: a request comes in, frames and news go out.

    python -I -m headwater.film_engines._worker MEMORY_BYTES

In, on standard input: the request (FilmRequest.to_json), a newline; later perhaps `stop`, a newline: keep what there
is. Out, on standard output, messages of a letter, a length (four bytes, little-endian) and that many bytes:
S a step as JSON, P a JPEG that shows it, F a frame's raw RGB bytes (height and width are the request's), E an error
as JSON {code, message, hint}, Q the end. A worker makes one film.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from typing import BinaryIO

from headwater.core.errors import CorruptFile, HeadwaterError, TooLarge
from headwater.core.film import FilmRequest, Step
from headwater.film_engines import FILM_ENGINES

REQUEST_MAX = 1_000_000


def main() -> None:
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints goes to the log, not between the messages
    try:
        _film(FilmRequest.from_json(sys.stdin.buffer.readline(REQUEST_MAX).decode()), out)
    except HeadwaterError as error:
        _fail(out, error)
    except MemoryError:
        _fail(out, TooLarge(f"The film needs more than the {memory >> 20} MiB it may use.",
                            hint="Ask for a smaller size or fewer seconds."))
    except (ValueError, KeyError, OSError) as error:  # what libraries say of pictures and models they cannot read
        _fail(out, CorruptFile(f"The engine could not go on: {type(error).__name__}: {error}"))


def _film(request: FilmRequest, out: BinaryIO) -> None:
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()

    def tell(step: Step) -> None:
        _send(out, b"S", json.dumps({"stage": step.stage, "i": step.i, "n": step.n}).encode())
        if step.preview is not None:
            _send(out, b"P", step.preview)

    for frame in FILM_ENGINES[request.engine].frames(request, tell, stop.is_set):
        if frame.shape != (request.height, request.width, 3):
            raise CorruptFile(f"{request.engine} made a frame of {frame.shape}, asked for "
                              f"{(request.height, request.width, 3)}.")
        _send(out, b"F", frame.tobytes())
    _send(out, b"Q", b"")


def _listen(stop: threading.Event) -> None:
    """`stop` means: end early and keep the frames. Standard input at its end means that nobody waits any more."""
    for line in sys.stdin.buffer:
        if line.strip() == b"stop":
            stop.set()
    os._exit(3)


def _fail(out: BinaryIO, error: HeadwaterError) -> None:
    _send(out, b"E", json.dumps({"code": error.code, "message": str(error), "hint": error.hint}).encode())


def _send(out: BinaryIO, kind: bytes, data: bytes) -> None:
    whole = memoryview(kind + len(data).to_bytes(4, "little") + data)
    while whole:  # a raw pipe may take less than it is given
        whole = whole[out.write(whole):]


if __name__ == "__main__":
    main()
