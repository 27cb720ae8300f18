"""The port a chat engine implements (engines/, one file or folder each). The film engines' is core/film.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headwater.core.types import Snapshot


class ChatEngine(Protocol):
    """Something that runs a chat model. One file in engines/ ending in `ENGINE = ...`.

    The worker it starts is a child process that keeps the contract of docs/recipes/add-an-engine.md:
    OpenAI chat completions over HTTP on 127.0.0.1, a bearer key, /health.
    """

    name: str
    slots: int
    """Requests one worker computes at the same time; more wait in the gateway."""
    features: frozenset[str]
    """What it does beyond plain chat, of the words in chat/features.py. May be left out: then nothing."""

    def available(self) -> str | None:
        """None when this engine can run here, else the sentence that says how to install it."""

    def build(self) -> str:
        """Name and version of what computes, e.g. 'llama.cpp b11549 (xllamacpp 2026.10.11549)'."""

    def accepts(self, files: Sequence[str]) -> str | None:
        """The one of these repo paths it would load, or None if this is nothing for it."""

    def command(self, snapshot: Snapshot, path: str, *, port: int, threads: int, context: int) -> list[str]:
        """argv of the worker that loads `path` of the snapshot. The key comes to it in HEADWATER_WORKER_KEY."""
