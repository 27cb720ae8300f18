"""The program that looks for landmarks in a photo, started by film/landmarks.py, so that a hostile picture meets the
libraries that read it in a process of its own.

    python -I -m headwater.film_engines._points MEMORY_BYTES SECONDS

In, on standard input: the request (FilmRequest.to_json). Out, on standard output, one JSON object: {"points": {name:
[x, y]}}, or {"code", "message", "hint"} for an error.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, cast

from headwater.core.errors import CorruptFile, HeadwaterError, TooLarge
from headwater.core.film import FilmRequest, PointFinder
from headwater.film_engines import FILM_ENGINES

REQUEST_MAX = 1_000_000


def main() -> None:
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not into the answer
    with out:
        json.dump(_answer(), out)


def _answer() -> dict[str, Any]:
    try:
        request = FilmRequest.from_json(sys.stdin.buffer.read(REQUEST_MAX).decode())
        finder = cast(PointFinder, FILM_ENGINES[request.engine])
        return {"points": finder.points(request)}
    except HeadwaterError as error:
        return _told(error)
    except MemoryError:
        return _told(TooLarge("Looking for faces needs more memory than it may use.", hint="Choose a smaller photo."))
    except (ValueError, KeyError, OSError) as error:  # what libraries say of pictures and models they cannot read
        return _told(CorruptFile(f"The engine could not go on: {type(error).__name__}: {error}"))


def _told(error: HeadwaterError) -> dict[str, Any]:
    return {"code": error.code, "message": str(error), "hint": error.hint}


if __name__ == "__main__":
    main()
