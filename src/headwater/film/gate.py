"""What an account may order: limits for those who are no administrators, and words the hub makes no film of.

Words are refused by a list of patterns (RE2: linear in the text, whatever the pattern) or by a service the owner names.
Either fails closed: a list that cannot be read or a service that does not answer lets nothing by. The audit log is told
who was refused and a hash of the words, never the words.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headwater.core.errors import Busy, Forbidden, HeadwaterError, TooLarge, Unavailable
from headwater.core.film import FilmRequest
from headwater.core.types import Account, Actor
from headwater.film import Film
from headwater.film.badge import WORDS
from headwater.film.post import post

LIST_MAX, PATTERNS_MAX, PATTERN_MEMORY = 1_000_000, 10_000, 1 << 20
ANSWER_MAX = 65_536
DAY_S = 86_400


def admit_order(film: Film, actor: Actor, account: Account, request: FilmRequest) -> None:
    """Raises TooLarge over a limit, Forbidden for words that are refused, Unavailable when that cannot be told."""
    settings = film.settings
    if settings.film_badge not in ("", *WORDS):
        raise Unavailable(f"The setting film_badge is {settings.film_badge!r}; it may be empty, {' or '.join(WORDS)}.",
                          hint="Who runs the hub must change it.")
    _limits(film, account, request)
    if settings.film_blocklist and (line := _listed(Path(settings.film_blocklist), request.prompt)):
        _refuse(film, actor, request, {"by": "list", "line": line}, "")
    if settings.film_check_url:
        said = _asked(settings.film_check_url, request, account)
        if said.get("allow") is not True:
            _refuse(film, actor, request, {"by": "service"}, str(said.get("reason") or "")[:300])


def count_order(film: Film, account: Account) -> None:
    """One more film of the day. Raises Busy over the day's number."""
    most = film.settings.film_user_per_day
    if not most or account.is_admin or film.spend is None:
        return
    now = film.now()
    day, who = int(now // DAY_S), f"film:{account.id}"
    if film.spend(day, {who: (1, 0)})[who][0] > most:
        film.spend(day, {who: (-1, 0)})
        raise Busy(f"An account may order {most} films a day here.", retry_after=int(DAY_S - now % DAY_S) + 1,
                   hint="Go on tomorrow (UTC), or ask who runs the hub.")


def uncount_order(film: Film, account: Account) -> None:
    """The order came to nothing."""
    if film.settings.film_user_per_day and not account.is_admin and film.spend is not None:
        film.spend(int(film.now() // DAY_S), {f"film:{account.id}": (-1, 0)})


def _limits(film: Film, account: Account, request: FilmRequest) -> None:
    settings = film.settings
    if account.is_admin:
        return
    if settings.film_user_seconds and request.seconds > settings.film_user_seconds:
        raise TooLarge(f"A film of yours may have {settings.film_user_seconds} s here, not {request.seconds:g}.",
                       hint="Ask for fewer seconds, or ask who runs the hub.")
    if settings.film_user_side and max(request.width, request.height) > settings.film_user_side:
        raise TooLarge(f"A film of yours may have {settings.film_user_side} pixels a side here, not "
                       f"{max(request.width, request.height)}.", hint="Ask for a smaller size.")


def _refuse(film: Film, actor: Actor, request: FilmRequest, why: dict[str, Any], reason: str) -> None:
    film.note("film.refused", "film", actor, {
        **why, "prompt_sha256": hashlib.sha256(request.prompt.encode()).hexdigest()})
    raise Forbidden(f"This hub makes no film of these words{': ' + reason if reason else '.'}",
                    hint="Say it in other words, or ask who runs the hub.")


def _listed(file: Path, prompt: str) -> int | None:
    """The line of the pattern the words match. Compared without case, full width as half width."""
    try:
        stat = file.stat()
        patterns = _patterns(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError) as error:
        raise Unavailable(f"The list of words that are refused cannot be used: {error}.",
                          hint="Who runs the hub must mend the file the setting film_blocklist names.") from None
    words = unicodedata.normalize("NFKC", prompt)
    return next((number for number, pattern in patterns if pattern.search(words)), None)


@lru_cache(maxsize=2)
def _patterns(file: Path, mtime_ns: int, size: int) -> list[tuple[int, Any]]:
    """(line, pattern) of each line that is neither empty nor begins with "#"; read again when the file changes."""
    import re2

    if size > LIST_MAX:
        raise ValueError(f"it has more than {LIST_MAX:,} bytes")
    options = re2.Options()
    options.case_sensitive, options.log_errors, options.max_mem = False, False, PATTERN_MEMORY
    found = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        if not (text := line.strip()) or text.startswith("#"):
            continue
        try:
            found.append((number, re2.compile(unicodedata.normalize("NFKC", text), options)))
        except re2.error as error:
            raise ValueError(f"line {number} is no pattern ({error})") from None
    if len(found) > PATTERNS_MAX:
        raise ValueError(f"it has more than {PATTERNS_MAX:,} patterns")
    return found


def _asked(url: str, request: FilmRequest, account: Account) -> dict[str, Any]:
    """What the owner's service says: {"allow": true} or {"allow": false, "reason": "..."}."""
    body = json.dumps({"prompt": request.prompt, "negative": request.negative, "kind": request.kind,
                       "model": request.model or f"headwater/{request.engine}", "account": account.name,
                       "pictures": [one.digest for one in request.pictures]}).encode()
    try:
        parts = urlsplit(url)
        status, answer = post(parts, body, [parts.hostname or ""], read=ANSWER_MAX)  # it may be private: it was named
        said = json.loads(answer) if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, HeadwaterError):
        said = None
    if not isinstance(said, dict):
        raise Unavailable("What checks the words of films did not answer, so no film can be ordered.",
                          hint="Try again in a moment.")
    return said
