"""A small model for every engine on the shelf, and a worker run bare, without the supervisor.

A new engine wants one line in SAMPLES: the contract tests fail with that sentence until it has one.
"""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from real_models import smollm2_gguf

from headwater.chat.process import environment
from headwater.core.types import Card, Entry, EntryKind, Kind, Repo, Snapshot
from headwater.engines import ENGINES

KEY = "key-of-the-tests"
RIVER = (
    "The river rises in the hills. The river runs to the sea. 河水从山上流下。海很宽🌊。"
    "The sea is wide and the hills are high. Water finds its way."
)


@dataclass(frozen=True)
class Sample:
    """make writes a working model into a folder; spoil breaks it; endless writes one that talks for seconds."""

    make: Callable[[Path], None]
    spoil: Callable[[Path], None]
    endless: Callable[[Path], None]
    starts_s: float = 20


def markov(folder: Path, text: str = RIVER, **config) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "markov", **config}))
    (folder / "corpus.txt").write_text(text, "utf-8")


def smollm2(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.symlink(smollm2_gguf(), folder / "SmolLM2-135M-Instruct.Q4_1.gguf")


def cut_smollm2(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with smollm2_gguf().open("rb") as file:
        (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(file.read(3_000_000))


SAMPLES = {
    "llamacpp": Sample(smollm2, cut_smollm2, smollm2),
    "markov": Sample(markov, lambda f: markov(f, text=" "), lambda f: markov(f, "tick tock ", tokens_per_second=200)),
}


def snapshot_of(folder: Path, name: str = "someone/model") -> Snapshot:
    owner, short = name.split("/")
    repo = Repo(1, Kind.MODEL, owner, short, False, 0.0, 0.0, "0" * 40, 0, 0, 0, Card())
    files = tuple(Entry(str(p.relative_to(folder)), EntryKind.FILE, "0" * 40, p.stat().st_size, "0" * 64)
                  for p in sorted(folder.rglob("*")) if p.is_file())
    return Snapshot(repo, "a" * 40, str(folder), files)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def argv_for(name: str, folder: Path, port: int) -> list[str]:
    engine, snapshot = ENGINES[name], snapshot_of(folder)
    path = engine.accepts([entry.path for entry in snapshot.files])
    assert path is not None, f"{name} does not take its own sample"
    return engine.command(snapshot, path, port=port, threads=1, context=1024)


@contextlib.contextmanager
def bare_worker(name: str, folder: Path):
    """(process, client with the right key). stderr goes to worker.log beside the folder."""
    port = free_port()
    with (folder.parent / "worker.log").open("wb") as log:
        process = subprocess.Popen(argv_for(name, folder, port), stdin=subprocess.PIPE, stdout=log, stderr=log,
                                   env=environment(KEY))
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60,
                          headers={"Authorization": f"Bearer {KEY}", "Connection": "close"})
    try:
        with client:
            yield process, client
    finally:
        process.kill()
        process.wait()
