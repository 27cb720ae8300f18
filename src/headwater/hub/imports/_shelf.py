"""What a source is. Knows nothing of any one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headwater.core.errors import BadInput
from headwater.core.shelf import Shelf
from headwater.core.types import Actor, Digest, Kind, Oid, Staged
from headwater.core.work import Progress
from headwater.hub import Hub


class Meter:
    """Counts bytes for a Progress, which may raise Cancelled at any call."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self.done = 0

    def start(self, stage: str, total: int | None = None) -> None:
        self.done = 0
        self._progress(0, total, stage=stage, unit="bytes")

    def total(self, total: int) -> None:
        self._progress(self.done, total)

    def add(self, count: int) -> None:
        self.done += count
        self._progress(self.done)

    def stage(self, text: str) -> None:
        self._progress(self.done, stage=text)


@dataclass(frozen=True)
class Offer:
    """One file a source has.

    digest: its sha256, oid: its git blob oid, where the source says so beforehand. fetch gets the bytes into the
    folder it is given, proves them, and tells the meter of each; Staged.git_oid is None for a file that stands in
    git as an LFS pointer.
    """

    path: str
    size: int
    fetch: Callable[[Path, Meter], Staged]
    digest: Digest | None = None
    oid: Oid | None = None


@dataclass(frozen=True)
class Plan:
    """What an import would bring.

    origin and version stand in the commit as `Imported-From: origin@version`; a version that was imported is not
    imported again (None: it has none). owner None means the actor's own name. whole: the offers are all files of
    that version, so one that is missing was deleted there. private: not for everybody at its source, so a new repo
    here is private as well. notes: facts for the commit message, a line each.
    shown: facts for whoever asked, in the result (sha256 and how it was proved).
    """

    kind: Kind
    owner: str | None
    name: str
    origin: str
    version: str | None
    title: str
    offers: tuple[Offer, ...]
    whole: bool = False
    private: bool = False
    notes: tuple[str, ...] = ()
    shown: dict[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """A kind of place models come from."""

    name: str
    example: str
    local: bool
    """Whether it reads files of the machine the hub runs on: only for who owns that machine."""

    def accepts(self, text: str) -> bool: ...

    def open(self, hub: Hub, actor: Actor, text: str, meter: Meter) -> AbstractContextManager[Plan]:
        """Look what is there. Connections and folders close with the context."""


SOURCES: Shelf[Source] = Shelf("headwater.hub.imports", "SOURCE")


def source_of(text: str, *, local: bool = True) -> Source:
    """Raises BadInput with an example of each kind. local: whether files of this machine may be named; if not, nothing
    of it is looked at."""
    text = text.strip()
    kinds = [source for source in SOURCES if local or not source.local]
    for source in sorted(kinds, key=lambda source: source.local):  # a prefix goes before a path
        if source.accepts(text):
            return source
    examples = ", ".join(source.example for source in kinds)
    raise BadInput(f"{text[:200]!r} is nothing Headwater can add: no known prefix"
                   f"{', and no such file or folder' if local else ''}.",
                   hint=f"Examples: {examples}." + ("" if local else " Files are sent with `headwater push`."))


def path_of(text: str) -> Path:
    return Path(os.path.expanduser(text))
