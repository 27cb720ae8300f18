"""A hub process with models to talk to: SmolLM2, and toys of markov that say what a test wants said."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine_samples import RIVER
from real_models import smollm2_gguf
from server import HubProcess, opened_hub

from headwater.core.types import Actor, Kind
from headwater.hub import Hub, repos
from headwater.hub.accounts import owner_actor
from headwater.hub.commit import Add, commit

SMOLLM2 = "SmolLM2-135M-Instruct__Q4_1__gguf"


def keep(hub: Hub, actor: Actor, owner: str, name: str, private: bool = False, **files: bytes) -> str:
    """A repo with these files (dots in names written as __); its revision."""
    repo = repos.create(hub, actor, Kind.MODEL, owner, name, private=private)
    return commit(hub, actor, repo, "main", [Add(n.replace("__", "."), c) for n, c in files.items()], title="add").oid


def toy(text: str = RIVER, **config: Any) -> dict[str, bytes]:
    return {"config__json": json.dumps({"model_type": "markov", **config}).encode(), "corpus__txt": text.encode()}


@contextlib.contextmanager
def model_hub(data: Path, models: dict[str, dict[str, bytes]], *, real: bool = True,
              **flags: Any) -> Iterator[tuple[HubProcess, dict]]:
    """(hub process, revisions by name) with these models of the local owner, and local/smollm2 if `real`."""
    with opened_hub(data) as hub:
        actor = owner_actor(hub)
        models = {**({"smollm2": {SMOLLM2: smollm2_gguf().read_bytes()}} if real else {}), **models}
        revisions = {f"local/{name}": keep(hub, actor, "local", name, **files) for name, files in models.items()}
    with HubProcess(data, **{"workers_max": 3, "worker_threads": 1, "chat_context": 2048, **flags}) as server:
        yield server, revisions
    assert "Traceback" not in server.tail(), server.tail()
