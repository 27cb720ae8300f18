"""Where an engine sees the landmarks of faces in a photo, so that a person can put them right before the film is made.

The engine looks in a child process under limits (film_engines/_points.py). Nothing of the photo is kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading

from headwater.core.errors import BadInput, Busy, EngineFailed, TooLarge
from headwater.core.film import Point
from headwater.core.types import Actor, Staged
from headwater.film import Film
from headwater.film.order import Asked, plan

WAIT_S, WORK_S, MEMORY = 20.0, 60, 3_000_000_000
_at_once = threading.BoundedSemaphore(2)


def find_points(film: Film, actor: Actor, asked: Asked, photo: Staged) -> dict[str, Point]:
    """Names as FilmRequest.points takes them; empty when no face was found. Blocking: a second or two.

    Raises as plan(); BadInput for an engine that knows no points; Busy when others look at the same time.
    """
    request = plan(film, actor, asked, photo).request
    if not film.engines[request.engine].describe(request.folder).points:
        raise BadInput(f"{request.engine} knows no points of a face.",
                       hint="Choose the photo engine and add its face models: headwater add pypi:mediapipe==0.10.21")
    if not _at_once.acquire(timeout=WAIT_S):
        raise Busy("Others are looking for faces just now.", retry_after=5, hint="Try again in a moment.")
    try:
        return _answer(request.to_json())
    finally:
        _at_once.release()


def _answer(request: str) -> dict[str, Point]:
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir(), "PYTHONUTF8": "1",
                   "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "headwater.film_engines._points", str(MEMORY), str(WORK_S)],
            input=request.encode(), capture_output=True, env=environment, cwd="/", timeout=2 * WORK_S)
        said = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise EngineFailed(f"No face was found within {2 * WORK_S} s, and the search was stopped.") from None
    except ValueError:
        last = done.stderr.decode(errors="replace").strip()[-500:]
        raise EngineFailed(f"The search for faces stopped before it ended. {last}") from None
    if "points" not in said:
        raise (TooLarge if said["code"] == "TooLarge" else BadInput)(said["message"], hint=said["hint"])
    return {name: (float(x), float(y)) for name, (x, y) in said["points"].items()}
