"""The part of making a film that another server does: order it there, and bring what came into the film's room.

Knows the port (core/elsewhere.py), no server and no form of API.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.core.elsewhere import Arrived, Errand, FilmElsewhere
from headwater.core.film import FilmEngine, FilmRequest, Step
from headwater.core.types import KeptFilm
from headwater.film import Film

HERE, THERE = "film", "film-elsewhere"
"""Kinds of jobs, each with a line of its own: what another server makes does not keep this machine's films waiting."""
AT_ONCE = 4
"""Films other servers have under way for this hub."""
Pictures = tuple[tuple[str, Path, str], ...]


def bring(film: Film, kept: KeptFilm, request: FilmRequest, room: Path, tell: Callable[[Step], None]) -> Arrived:
    """The request as its engine's own process will run it. What is made here comes back as it was."""
    engine = film.engines[request.engine]
    if not isinstance(engine, FilmElsewhere):
        return Arrived(request, {})

    def note(noted: dict[str, Any]) -> None:
        film.films.update(kept.id, noted=noted)

    name = f"{kept.id}-{kept.edition}"  # an order that was changed while it waited is another order
    return engine.fetch(request, Errand(name, film.settings, room, kept.noted or {}, note, tell))


def kind_of(film: Film, engine: str) -> str:
    """The kind of job that makes the films of the engine of that name, be it here or not."""
    return THERE if engine in film.engines.names() and isinstance(film.engines[engine], FilmElsewhere) else HERE


def admit(film: Film, engine: FilmEngine, folder: Path | None) -> None:
    """Raises Forbidden, BadInput for a server that is not to be asked."""
    if isinstance(engine, FilmElsewhere):
        engine.admit(film.settings, folder)


def left(film: Film, film_id: str) -> str | None:
    """Why a film that was cancelled may go on being made elsewhere; None when it does not."""
    kept = film.films.get(film_id)
    return (kept.noted or {}).get("left") if kept else None
