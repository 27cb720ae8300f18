"""Which models of the hub make films, and by which engine. Reads lists of files and one small index, never weights."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.core.film import FilmEngine
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
            (engine.name for engine in film.engines if engine.available() is None and engine.accepts(files) is None
             and _knows(film, engine, commit)), None)
    return film.chosen[commit.oid]


def _knows(film: Film, engine: FilmEngine, commit: Commit) -> bool:
    """Whether an engine that asks for more than names of files takes the repo: model_index.json tells what it makes."""
    index = getattr(engine, "index", None)
    if index is None:
        return True
    text = film.read_text(commit, "model_index.json")
    return text is not None and index(text) is None
