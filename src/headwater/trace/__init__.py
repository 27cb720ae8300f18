"""Room: where a model comes from, told from its weights.

Reads files through `weights`; knows nothing of pages, and of repos what its verbs were handed. Every verb that looks
at the hub is a function whose first argument is the Trace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.ports import Lineage, Repos
from headwater.core.types import Actor, Oid, Repo
from headwater.core.work import Jobs

if TYPE_CHECKING:
    from headwater.trace.forest import Forests
    from headwater.trace.index import Index
    from headwater.trace.null import NullLibrary
    from headwater.trace.reading import ModelFile


@dataclass(frozen=True)
class Trace:
    """What the verbs stand on.

    files_of: every file of a revision, by path. read: (digest, start, stop), bytes that are not on this machine.
    find: the repo of that full name if the actor may read it, else None. folder: of the index, made when it is needed.
    """

    records: Lineage
    repos: Repos
    jobs: Jobs
    folder: Path
    files_of: Callable[[Repo, Oid], Mapping[str, ModelFile]]
    read: Callable[[str, int, int], bytes]
    find: Callable[[Actor, str], Repo | None]
    _opened: list[Index] = field(default_factory=list, repr=False)
    _trees: list[Forests] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def index(self) -> Index:
        with self._lock:
            if not self._opened:
                from headwater.trace.index import Index

                self._opened.append(Index(self.folder))
            return self._opened[0]

    @property
    def forests(self) -> Forests:
        with self._lock:
            if not self._trees:
                from headwater.trace.forest import Forests

                self._trees.append(Forests())
            return self._trees[0]

    @property
    def null(self) -> NullLibrary:
        return _null()


@lru_cache(maxsize=1)
def _null() -> NullLibrary:
    from headwater.trace.null import NullLibrary

    return NullLibrary.load()
