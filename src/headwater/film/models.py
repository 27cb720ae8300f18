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
        engine = engine_of(film, commit)
        if engine and engine.available() is None:
            found.append(FilmModel(repo, engine.name))
    return found


def engine_of(film: Film, commit: Commit) -> FilmEngine | None:
    """The engine that films with it, one that can run here before one that cannot. Blocking."""
    name = _choose(film, commit)
    return film.engines[name] if name else None


def _choose(film: Film, commit: Commit) -> str | None:
    if commit.oid not in film.chosen:
        files = tuple(film.list_files(commit))
        if len(film.chosen) >= CHOSEN_MAX:
            film.chosen.clear()
        accepting = [engine for engine in film.engines
                     if engine.accepts(files) is None and _knows(film, engine, commit)]
        accepting.sort(key=lambda engine: engine.available() is not None)
        film.chosen[commit.oid] = accepting[0].name if accepting else None
    return film.chosen[commit.oid]


def _knows(film: Film, engine: FilmEngine, commit: Commit) -> bool:
    """Whether an engine that asks for more than names of files takes the repo: model_index.json tells what it makes."""
    index = getattr(engine, "index", None)
    if index is None:
        return True
    text = film.read_text(commit, "model_index.json")
    return text is not None and index(text) is None
