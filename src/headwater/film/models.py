"""Which models of the hub make films, and by which engine. Reads lists of files, never the files."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.core.types import Actor, Commit, Repo
from headwater.film import Film

CHOSEN_MAX = 10_000


@dataclass(frozen=True)
class FilmModel:
    repo: Repo
    engine: str


def find_all(film: Film, actor: Actor) -> list[FilmModel]:
    """Every model the actor may read and an engine here can film with, at main. Blocking."""
    found = []
    for repo, commit in film.list_models(actor):
        if name := _choose(film, commit):
            found.append(FilmModel(repo, name))
    return found


def _choose(film: Film, commit: Commit) -> str | None:
    if commit.oid not in film.chosen:
        files = tuple(film.list_files(commit))
        if len(film.chosen) >= CHOSEN_MAX:
            film.chosen.clear()
        film.chosen[commit.oid] = next(
            (engine.name for engine in film.engines if engine.available() is None and engine.accepts(files) is None),
            None)
    return film.chosen[commit.oid]
