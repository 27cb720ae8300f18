"""Tell a program's callback URL that its film is made, or could not be: a job of its own, tried several times.

The URL is a stranger's word, so it is connected to only at an address that was checked (a name that changes in between
gains nothing), no redirect is followed, no proxy asked, and of the answer only the status is read. What is sent is
handed in: this file knows no API.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit

from headwater.core.errors import BadInput, Forbidden, Unavailable
from headwater.core.outward import is_public
from headwater.core.types import KeptFilm
from headwater.core.work import Progress, Work
from headwater.film import Film
from headwater.film.post import post

KIND = "film-callback"
URL_MAX = 2_000
WAITS_S = (1.0, 5.0, 25.0, 120.0, 600.0)
"""Between one try and the next."""


def check_url(url: str, hosts: Sequence[str]) -> SplitResult:
    """Raises BadInput for what is no plain URL, Forbidden for a host the setting callback_hosts does not admit."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadInput("callback_url: is no URL.") from None
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url or parts.username is not None \
            or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise BadInput("callback_url: must be a plain http or https URL.")
    host = parts.hostname
    if host in hosts:
        return parts
    if "*" not in hosts:
        raise Forbidden(f"This hub calls nothing back at {host}.", hint="Have the setting callback_hosts name it.")
    try:
        fine = is_public(host)
    except ValueError:
        fine = host != "localhost" and not host.endswith(".localhost")
    if not fine:
        raise Forbidden(f"callback_url: {host} is no public address.",
                        hint="Have the setting callback_hosts name it if it is meant.")
    return parts


def announce(film: Film, film_id: str) -> None:
    """Enqueue the telling, once the film is done, failed or cancelled, if somebody is to be told."""
    kept = film.films.get(film_id)
    if kept is not None and kept.state not in ("queued", "running") and kept.asked.get("callback"):
        film.jobs.enqueue(KIND, {"film_id": kept.id}, title="Film: tell its callback", by="headwater",
                          key=f"callback-{kept.id}")


def callback_job(film: Film, shape: Callable[[KeptFilm], dict[str, Any]], hosts: Sequence[str],
                 waits: Sequence[float] = WAITS_S) -> Work:
    """payload {film_id}. shape: what is sent of a film. Raises Unavailable when nobody listened."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        kept = film.films.get(payload["film_id"])
        if kept is None:
            return None
        body, why = json.dumps(shape(kept)).encode(), ""
        for number, wait in enumerate((*waits, None)):
            progress(number, len(waits) + 1, stage="tell")
            parts = check_url(kept.asked["callback"], hosts)
            try:
                status, _ = post(parts, body, hosts)
                why = f"it answered {status}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, why = 0, str(error) if type(error) is OSError else type(error).__name__
            if 200 <= status < 300:
                return {"status": status, "tries": number + 1}
            if wait is not None:
                _sleep(wait, partial(progress, number, len(waits) + 1, stage="wait"))
        raise Unavailable(f"The callback was not taken: {why}.")

    return work


def _sleep(seconds: float, look: Callable[[], object]) -> None:
    """`look` raises when the hub stops or the job is cancelled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        look()
        time.sleep(min(0.5, left))
