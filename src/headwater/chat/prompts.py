"""Conversations as a worker read them, kept on disk: a model that is loaded again need not read them again.

`<data>/prompts/<sha256 of the weights>/<build, form and context>/slot-N`, written by llama.cpp, readable by this user
alone. Such a file is used only for a request that begins with the very tokens it was made of: nobody is ever handed
words he did not send. What can be told from outside is time, as with the cache in memory: a beginning that somebody
sent lately is read faster. Kept after KEEP_AFTER_S of quiet and when the worker is stopped; the oldest go first beyond
prompt_cache_bytes, all after prompt_cache_s.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.chat.types import ChatModel
from headwater.core.settings import Settings
from headwater.core.types import Digest, Snapshot

if TYPE_CHECKING:
    import aiohttp

    from headwater.chat.process import WorkerProcess

log = logging.getLogger("headwater.worker")

FOLDER = "prompts"
KEEP_AFTER_S = 5.0
TOKENS_MIN = 64
"""A shorter conversation is read again as fast as its file."""
SAVE_S, RESTORE_S = 10.0, 20.0


def place(settings: Settings, model: ChatModel, snapshot: Snapshot, build: str, context: int) -> Path | None:
    """The folder for this model, build, form and context; None where nothing is kept."""
    digest = next((entry.digest for entry in snapshot.files if entry.path == model.path), None)
    keeps = getattr(model.engine, "keeps_prompts", False) and not model.adapters  # read with one, no use for another
    if not settings.prompt_cache_bytes or not keeps or digest is None or not settings.data.is_dir():
        return None
    what = hashlib.sha256(f"{build}\n{context}\n{model.path}".encode()).hexdigest()[:16]
    return settings.data / FOLDER / digest / what


def environ(folder: Path | None) -> dict[str, str]:
    """What a worker is told: where it may write and read. The folder is made, for this user alone."""
    if folder is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in (folder.parent.parent, folder.parent, folder):
        each.chmod(0o700)
    return {"HEADWATER_WORKER_CACHE": str(folder)}


async def restore(http: aiohttp.ClientSession, worker: WorkerProcess, folder: Path, slots: int) -> None:
    """Hand a worker that has just started what it had read. A file it does not take is deleted."""
    for number in range(slots):
        file = folder / f"slot-{number}"
        if file.is_file() and await _act(http, worker, number, "restore", file.name, RESTORE_S) is None:
            file.unlink(missing_ok=True)


async def keep(http: aiohttp.ClientSession, worker: WorkerProcess, folder: Path, slots: int,
               settings: Settings) -> None:
    """Write what an idle worker has read. Nothing of it is worth an error: what fails is in the log."""
    for number in range(slots):
        part = folder / f"slot-{number}.part"
        told = await _act(http, worker, number, "save", part.name, SAVE_S)
        with contextlib.suppress(FileNotFoundError):
            if told and told.get("n_saved", 0) >= TOKENS_MIN:
                part.replace(folder / f"slot-{number}")
            else:
                part.unlink()
    tidy(settings)


def tidy(settings: Settings) -> int:
    """Delete what is too old or too much, and folders left empty; how many files went. Blocking, and brief."""
    root, gone, taken = settings.data / FOLDER, 0, 0
    files = []
    for file in root.glob("*/*/slot-*"):
        with contextlib.suppress(FileNotFoundError):
            about = file.stat()
            files.append((about.st_mtime, about.st_size, file))
    for at, size, file in sorted(files, reverse=True):
        taken += size
        if taken > settings.prompt_cache_bytes or time.time() - at > settings.prompt_cache_s:
            file.unlink(missing_ok=True)
            gone += 1
    return gone


def forget(data: Path, digest: Digest) -> None:
    """Delete all that was kept for these weights."""
    shutil.rmtree(data / FOLDER / digest, ignore_errors=True)


async def _act(http: aiohttp.ClientSession, worker: WorkerProcess, slot: int, action: str, name: str,
               seconds: float) -> dict[str, Any] | None:
    import aiohttp

    end = worker.endpoint
    try:
        async with http.post(f"{end.url}/slots/{slot}?action={action}", json={"filename": name},
                             headers={"Authorization": f"Bearer {end.key}"},
                             timeout=aiohttp.ClientTimeout(total=seconds)) as answer:
            if answer.status == 200:
                return await answer.json()
            said = (await answer.text())[:200]
    except (aiohttp.ClientError, TimeoutError) as error:
        said = repr(error)
    log.info("slot %d of %s was not %sd: %s", slot, worker.model.exact_name, action, said)
    return None
