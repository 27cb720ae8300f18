"""Which repos can be talked to, and by which engine. Reads lists of files, never the files."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.chat import Chat
from headwater.chat.types import ChatModel
from headwater.core.engine import ChatEngine
from headwater.core.errors import EngineFailed, ModelNotFound
from headwater.core.types import Actor, Commit

CHOSEN_MAX = 10_000


def find(chat: Chat, actor: Actor, name: str) -> ChatModel:
    """The model called `owner/name` or `owner/name@revision`. Raises ModelNotFound, EngineFailed. Blocking."""
    repo, commit = chat.find_model(actor, name)
    choice = _choose(chat, commit)
    if choice is None:
        names = ", ".join(engine.name for engine in chat.engines)
        raise ModelNotFound(f"No engine here runs {repo.full_name}: nothing in it that {names} would load.",
                            hint="GGUF files run with llamacpp.")
    if why := choice[0].available():
        raise EngineFailed(f"{repo.full_name} needs the engine {choice[0].name}.", hint=why)
    return ChatModel(repo, commit, *choice)


def find_all(chat: Chat, actor: Actor) -> list[ChatModel]:
    """Every model the actor may read and an engine here can run, at main. Blocking."""
    found = []
    for repo, commit in chat.list_models(actor):
        if (choice := _choose(chat, commit)) and choice[0].available() is None:
            found.append(ChatModel(repo, commit, *choice))
    return found


def _choose(chat: Chat, commit: Commit) -> tuple[ChatEngine, str, str | None] | None:
    """The first engine that accepts, one that can run here before one that cannot; the file it would load, and the
    projector beside it."""
    if commit.oid not in chat.chosen:
        files = chat.list_files(commit)
        accepting = [(engine, path, _projector(engine, files, path)) for engine in chat.engines
                     if (path := engine.accepts(files)) is not None]
        accepting.sort(key=lambda choice: choice[0].available() is not None)
        if len(chat.chosen) >= CHOSEN_MAX:
            chat.chosen.clear()
        chat.chosen[commit.oid] = accepting[0] if accepting else None
    return chat.chosen[commit.oid]


def _projector(engine: ChatEngine, files: Sequence[str], path: str) -> str | None:
    """An engine that sees pictures through a file beside the model says which one."""
    return engine.projector(files, path) if "vision" in getattr(engine, "features", ()) else None
