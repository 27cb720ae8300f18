"""The room for film: moving pictures from words or from a photo, each with a credit that says what made it.

It knows no concrete engine and no hub of repos: app.py hands in the shelf of engines, the stores and two verbs. Every
verb is a function whose first argument is Film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.core.errors import Damaged
from headwater.core.film import FilmEngine
from headwater.core.ports import Blobs, Files, Films, FilmVotes
from headwater.core.settings import Settings
from headwater.core.shelf import Shelf
from headwater.core.types import Account, Actor, Commit, KeptFile, Repo, Snapshot, Staged
from headwater.core.work import Jobs
from headwater.film.process import Warm


@dataclass(frozen=True)
class Film:
    """What the verbs stand on.

    find_model(actor, "owner/name@revision"): raises ModelNotFound. find_commit("owner/name", revision): of a model that
    somebody was allowed to use when the film was ordered; raises ModelNotFound when it is gone. lay_out(repo, commit):
    its files as a folder. list_files(commit): their paths. list_models(actor): every model one may read, at main.
    stage(chunks, limit=…): receives bytes into a file of the folder blobs are adopted from. tmp: a folder on the same
    disk. now: seconds since 1970.
    """

    settings: Settings
    engines: Shelf[FilmEngine]
    films: Films
    files: Files
    blobs: Blobs
    jobs: Jobs
    find_model: Callable[[Actor, str], tuple[Repo, Commit]]
    find_commit: Callable[[str, str], tuple[Repo, Commit]]
    find_account: Callable[[int], Account | None]
    lay_out: Callable[[Repo, Commit], Snapshot]
    list_files: Callable[[Commit], list[str]]
    stage: Callable[..., Staged]
    tmp: Path
    now: Callable[[], float]
    votes: FilmVotes
    list_models: Callable[[Actor], list[tuple[Repo, Commit]]] = lambda actor: []
    note: Callable[[str, str, Actor, dict[str, Any]], None] = lambda action, subject, by, detail: None
    """Into the audit log: action, subject, by whom, detail."""
    spend: Callable[[int, Mapping[str, tuple[int, int]]], dict[str, tuple[int, int]]] | None = None
    """core.ports.Spending.spend, where films of a day are counted; None: nowhere."""
    chosen: dict[str, str | None] = field(default_factory=dict, repr=False)
    """The engine that films with a commit, by its name; see models.py."""
    read_text: Callable[[Commit, str], str | None] = lambda commit, path: None
    """A small file of a commit; None when it is not there, is large or is no text."""
    warm: Warm | None = None
    """Where the process of an engine that holds a model is kept between films; None: nowhere."""

    @property
    def authority(self) -> Path:
        """Where the key and certificates stand that films are signed with."""
        return self.settings.data / "film" / "authority.pem"

    def bytes_of(self, file: KeptFile) -> Iterator[bytes]:
        """Raises Damaged at once when the blob store has lost them."""
        try:
            return self.blobs.read(file.digest)
        except FileNotFoundError:
            raise Damaged(f"The hub has lost the bytes of {file.name}, which belongs to a film.",
                          hint="Order the film again, with its pictures; `headwater scrub` lists what else is gone."
                          ) from None
