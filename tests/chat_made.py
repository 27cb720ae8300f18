"""A chat room over folders: the real engines and workers, with a dict of folders in the hub's place."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
from engine_samples import snapshot_of

from headwater.chat import Chat
from headwater.chat.types import ChatRequest
from headwater.core.errors import ModelNotFound
from headwater.core.settings import load
from headwater.core.types import EMPTY_TREE, Commit
from headwater.engines import ENGINES

ASKED = ({"role": "user", "content": "Where does the river run?"},)


class Shelf:
    """Models by name, each a folder. `laid` counts how often each was laid out."""

    def __init__(self, folders: dict[str, Path]):
        self.folders, self.laid = folders, []

    def find(self, actor: Any, name: str) -> tuple[Any, Commit]:
        full, _, revision = name.partition("@")
        if full not in self.folders or revision not in ("", "main", self.commit(full).oid):
            raise ModelNotFound(f"The model {name!r} is not here.")
        return snapshot_of(self.folders[full], full).repo, self.commit(full)

    def commit(self, full: str) -> Commit:
        return Commit(hashlib.sha1(full.encode()).hexdigest(), EMPTY_TREE, (), "a", "a@b", "t", "", 0)

    def lay_out(self, repo: Any, commit: Commit) -> Any:
        self.laid.append(repo.full_name)
        return snapshot_of(self.folders[repo.full_name], repo.full_name)

    def list(self, actor: Any) -> list[tuple[Any, Commit]]:
        return [self.find(actor, name) for name in self.folders]

    def files(self, commit: Commit) -> list[str]:
        full = next(name for name in self.folders if self.commit(name).oid == commit.oid)
        return [entry.path for entry in snapshot_of(self.folders[full], full).files]


@contextlib.asynccontextmanager
async def chat_over(folders: dict[str, Path], speech: Any = None, **flags: Any) -> AsyncIterator[tuple[Chat, Shelf]]:
    """The room; when it closes, none of its workers may be left."""
    shelf = Shelf(folders)
    data = flags.pop("data", Path("/nonexistent"))
    settings = load(data, {"worker_start_s": 30, "chat_context": 1024, **flags}, environ={})
    chat = Chat(settings, ENGINES, find_model=shelf.find, lay_out=shelf.lay_out, list_models=shelf.list,
                list_files=shelf.files, **({"speech": speech} if speech else {}))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    try:
        yield chat, shelf
    finally:
        await chat.close()
    left = [child for child in psutil.Process().children(recursive=True)
            if child.pid not in before and child.status() != psutil.STATUS_ZOMBIE]
    assert not left, left


def asking(model: str, **fields: Any) -> ChatRequest:
    return ChatRequest(model, fields.pop("messages", ASKED), **fields)


async def busy(chat: Chat) -> int:
    """Requests the workers themselves say they compute."""
    count = 0
    for seat in list(chat.workers._seats.values()):
        if seat.worker:
            end = seat.worker.endpoint
            async with httpx.AsyncClient(headers={"Authorization": f"Bearer {end.key}"}) as client:
                count += sum(slot["is_processing"] for slot in (await client.get(f"{end.url}/slots")).json())
    return count


async def until(question: Any, seconds: float = 10) -> float:
    """Wait until question() (or what it awaits to) is true; how long that took."""
    import time

    start = time.monotonic()
    while time.monotonic() - start < seconds:
        answer = question()
        if await answer if asyncio.iscoroutine(answer) else answer:
            return time.monotonic() - start
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def is_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


