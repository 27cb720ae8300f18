"""What the two forms of API have in common: the verbs watch.py calls, and a server's words made fit to be told on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from headwater.core.errors import BadInput, EngineFailed
from headwater.core.film import FilmRequest
from headwater.film_engines.remote_videos._declared import Declared
from headwater.film_engines.remote_videos._wire import Answer, Lost, Unsent

WORDS_MAX = 600
POLL_S, POLL_LEAST_S, POLL_MOST_S = 2.0, 0.2, 30.0


class Later(Exception):
    """The server asks to be asked again: it has not taken the order. seconds: when."""

    def __init__(self, why: str, seconds: float):
        super().__init__(why)
        self.seconds = seconds


@dataclass(frozen=True)
class Seen:
    """Where an order stands. progress: percent. after: seconds until it is worth asking again. why: of a failure, in
    the server's words. said: what the server says of the film beyond that, for the receipt."""

    state: Literal["waiting", "making", "made", "failed"]
    progress: int = 0
    after: float = POLL_S
    why: str = ""
    said: dict[str, Any] = field(default_factory=dict)


class Api(Protocol):
    """One order at one server. Every verb may raise Unsent, Lost, Later, and EngineFailed or BadInput in the server's
    words."""

    def mark(self) -> Any:
        """What there is before the order, as plain JSON: by it `lost` tells a new order from old ones."""

    def order(self, request: FilmRequest, name: str) -> str:
        """The id of the order. name: of ours, that no other order has."""

    def lost(self, request: FilmRequest, name: str, mark: Any) -> str | None:
        """The id of an order whose answer was lost; None when the server never took it. Raises EngineFailed when that
        cannot be told."""

    def look(self, number: str, request: FilmRequest) -> Seen: ...

    def withdraw(self, number: str) -> str | None:
        """Call the order back: None when that is done, else the sentence why not."""

    def download(self, number: str, seen: Seen, target: Path, most: int, tick: Callable[[int], None]) -> None: ...


class Tongue:
    """Says a server's words: bounded, on one line, never with a key in them."""

    def __init__(self, declared: Declared, secret: str):
        self.host = declared.host
        self._secrets = [part for part in {secret, *secret.split(":")} if len(part) >= 4]

    def words(self, text: object) -> str:
        said = str(text)
        for secret in self._secrets:
            said = said.replace(secret, "(key)")
        said = " ".join("".join(c if c.isprintable() else " " for c in said[: WORDS_MAX * 4]).split())
        return said[:WORDS_MAX]

    def of(self, answer: Answer) -> str:
        """What a refusal says, wherever it says it."""
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = answer.body[:WORDS_MAX].decode("utf-8", "replace")
        for name in ("error", "detail", "message"):
            if isinstance(said, dict) and said.get(name):
                said = said[name]
        return self.words(said) or "no words"

    def refuse(self, answer: Answer) -> None:
        """Raises by the status of an answer that is no yes: Later, Lost (it may have acted), BadInput, EngineFailed."""
        told = f"{self.host} answered {answer.status}: {self.of(answer)}"
        if answer.status in (429, 503):
            raise Later(told, seconds_of(answer.headers.get("retry-after"), 5.0, most=60.0))
        if answer.status >= 500:
            raise Lost(told)
        if answer.status in (400, 413, 415, 422):
            raise BadInput(told)
        if answer.status in (401, 403):
            raise EngineFailed(told, hint="Have an administrator look at this server's key in the setting `remotes`.")
        raise EngineFailed(told)

    def read(self, answer: Answer) -> dict[str, Any]:
        """The object an answer of 2xx holds. Raises as refuse(), Lost when it is none."""
        if not 200 <= answer.status < 300:
            self.refuse(answer)
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Lost(f"{self.host} answered {answer.status}, but not with JSON: {self.of(answer)[:100]}")
        return said


def seconds_of(text: str | None, usual: float, least: float = POLL_LEAST_S, most: float = POLL_MOST_S,
               scale: float = 1.0) -> float:
    """A header's number, times scale, between least and most."""
    try:
        number = float(text or "") * scale
    except ValueError:
        return max(least, usual)
    return max(least, min(most, number)) if number == number else usual


def plain_id(value: Any, host: str) -> str:
    """Raises Lost for what no path may hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not all(
            c.isascii() and (c.isalnum() or c in "-_.:") for c in value) or value.strip(".") == "":
        raise Lost(f"{host} took the order but gave it no usable id.")
    return value


__all__ = ["Api", "Later", "Lost", "Seen", "Tongue", "Unsent", "plain_id", "seconds_of"]
