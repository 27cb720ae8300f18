"""A shelf: a folder whose files each put one thing on it. A new engine is a new file, and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Shelf(Generic[Thing]):
    """Things by name, found in the modules of `package` and in entry points of the same group.

    A module registers its thing by `THING = ...` under the attribute named at construction. A file that
    fails to import takes nothing else down: it is kept in `broken` with its error. Modules whose name
    starts with an underscore are helpers, not things.
    """

    def __init__(self, package: str, attribute: str):
        self.package, self.attribute = package, attribute
        self.broken: dict[str, str] = {}
        self._things: dict[str, Thing] | None = None
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> Thing:
        things = self._load()
        if name not in things:
            raise KeyError(f"no {self.attribute.lower()} named {name!r}; there are: {', '.join(sorted(things))}")
        return things[name]

    def __iter__(self) -> Iterator[Thing]:
        return iter(self._load().values())

    def names(self) -> list[str]:
        return sorted(self._load())

    def _load(self) -> dict[str, Thing]:
        with self._lock:  # the first requests of a server ask from several threads at once
            if self._things is None:
                things: dict[str, Thing] = {}
                folder = importlib.import_module(self.package)
                for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda m: m.name):
                    if not module.name.startswith("_"):
                        self._put(things, module.name, f"{self.package}.{module.name}")
                for point in entry_points(group=self.package):
                    self._put(things, point.name, point.value)
                self._things = things
            return self._things

    def _put(self, things: dict[str, Thing], name: str, module: str) -> None:
        try:
            thing = getattr(importlib.import_module(module), self.attribute)
        except Exception as error:  # a stranger's file may fail in any way; the rest of the shelf must stand
            self.broken[name] = f"{type(error).__name__}: {error}"
            return
        if name in things:
            raise RuntimeError(f"two things named {name!r} on the shelf {self.package}")
        things[name] = thing
