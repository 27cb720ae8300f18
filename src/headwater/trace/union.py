"""Sets that are joined two at a time (Tarjan 1975, with halved paths)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Union(Generic[T]):
    def __init__(self, members: Iterable[T]):
        self._home = {one: one for one in members}

    def root(self, one: T) -> T:
        """The member that stands for all that are joined with this one."""
        while self._home[one] != one:
            self._home[one] = self._home[self._home[one]]
            one = self._home[one]
        return one

    def join(self, one: T, into: T) -> bool:
        """From now on the root of `into` stands for both. False if it did before."""
        mine, other = self.root(one), self.root(into)
        self._home[mine] = other
        return mine != other
