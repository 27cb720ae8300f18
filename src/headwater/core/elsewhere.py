"""A film engine whose films another server makes: what the film room hands it, and what comes back.

Such an engine works in two parts. `fetch` runs in the hub, because it needs the operator's keys and must be able to
call an order back when it is cancelled; it opens no video. `frames` runs in a child process like every engine's, and
takes the frames out of the file that arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from headwater.core.film import FilmRequest, Step
from headwater.core.settings import Settings


@dataclass(frozen=True)
class Errand:
    """order: a name for this film that no other has, so that an order can be recognised. room: a folder for files, gone
    when the film is kept. noted: what `note` was told last, in this life of the hub or one before; `note` returns once
    that is kept. tell raises core.work.Cancelled: with ("cancel",) when nobody wants the film any more, otherwise
    because the hub stops and will begin again."""

    order: str
    settings: Settings
    room: Path
    noted: dict[str, Any]
    note: Callable[[dict[str, Any]], None]
    tell: Callable[[Step], None]


@dataclass(frozen=True)
class Arrived:
    """request: with the size, pace and length of what came. told: for the receipt and the credential, plain JSON.
    pictures: (title, file, media type) of what went into the film beside its own pictures. generates: whether a model
    made it, as far as the server says; None where it does not."""

    request: FilmRequest
    told: dict[str, Any]
    pictures: tuple[tuple[str, Path, str], ...] = field(default=())
    generates: bool | None = None


@runtime_checkable
class FilmElsewhere(Protocol):
    """The verbs a FilmEngine has beyond the port when another server makes its films."""

    def admit(self, settings: Settings, folder: Path | None) -> None:
        """Raises Forbidden when the operator has not allowed that server, BadInput when the folder does not say one."""

    def fetch(self, request: FilmRequest, errand: Errand) -> Arrived:
        """Order the film, wait for it and bring it. Begun again with what was noted, it orders nothing twice."""
