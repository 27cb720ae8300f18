"""Blobs over Blobs: some are kept as the difference to others (packed.py), and nobody who reads them notices.

A difference is itself a blob of the store below, under its own sha256; the records (core.ports.Deltas) say which stands
for what. Bytes that are there whole are always read whole: the records are asked only about what is not.

What holds at every moment, whoever dies: the whole bytes are there, or a difference in state ready that was read back
and hashed, with its base. The steps there: row (making), difference kept, read back and hashed, row (ready), whole
bytes gone. And back: whole bytes kept, row (leaving), difference gone, row gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from headwater.core.errors import Damaged
from headwater.core.ports import Blobs, Deltas
from headwater.core.types import Delta, Digest, Pair
from headwater.storage.blobs.packed import (
    Fetch,
    Index,
    estimate,
    read_index,
    read_range,
    sha256_of,
    spans_of,
    write_packed,
)

_TURNS = 4
"""How often a reader follows bytes that change their form under it."""


class DifferenceBlobs:
    """Blobs and Differences of core.ports."""

    def __init__(self, below: Blobs, deltas: Deltas):
        self._below, self._deltas = below, deltas
        self._index = lru_cache(maxsize=16)(self._read_index)  # of a file that never changes

    # --- Blobs

    def adopt(self, staged: Path, digest: Digest) -> None:
        self._below.adopt(staged, digest)

    def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Raises Damaged on the way if a difference or its base rotted."""
        chunks = self._open(digest, start, stop)
        return self._followed(chunks, digest, start, stop)

    def size(self, digest: Digest) -> int | None:
        size = self._below.size(digest)
        if size is None and (delta := self._ready(digest)):
            try:
                return self._index(delta.packed).size
            except (FileNotFoundError, Damaged):
                return None
        return size

    def path(self, digest: Digest) -> Path | None:
        """None for what is kept as a difference."""
        path = self._below.path(digest)
        if path is None or path.exists() or self._ready(digest) is None:
            return path
        return None

    def delete(self, digest: Digest) -> None:
        self._below.delete(digest)
        delta = self._deltas.get(digest)
        if delta and delta.packed:
            self._below.delete(delta.packed)

    def digests(self) -> Iterator[Digest]:
        rows = self._deltas.all()
        packed, ready = {row.packed for row in rows}, {row.digest for row in rows if row.state == "ready"}
        for digest in self._below.digests():
            if digest not in packed:
                ready.discard(digest)
                yield digest
        yield from (digest for digest in ready if self.size(digest) is not None)

    # --- Differences

    def of(self, digests: Iterable[Digest]) -> dict[Digest, Delta]:
        return self._deltas.of(digests)

    def possible(self, digest: Digest, base: Digest) -> Digest | None:
        rows = self._deltas.of([base])
        if base in rows and rows[base].state == "ready":
            base = rows[base].base
        if digest == base or self._deltas.bases([digest]) or None in (self._below.size(digest), self._below.size(base)):
            return None
        path = self._below.path(digest)
        # A second name of the file is a folder laid out for an engine: the bytes would stay on the disk.
        return None if path is not None and os.stat(path).st_nlink > 1 else base

    def pack(self, digest: Digest, base: Digest, pairs: Sequence[Pair], target: Path, *, most: int,
             tell: Callable[[int], None]) -> bool:
        size = self._below.size(digest)
        if size is None:
            raise FileNotFoundError(digest)
        spans, child, parent = spans_of(pairs, size), self._fetch(digest), self._fetch(base)
        if estimate(spans, child, parent) * size > 1.1 * most:
            return False
        return write_packed(target, digest, base, spans, child, parent, most=most, tell=tell) is not None

    def swap(self, digest: Digest, base: Digest, packed: Path) -> bool:
        """Raises Damaged, and keeps the whole bytes, if what was packed does not give them back."""
        with packed.open("rb") as file:
            name, size = sha256_of(iter(lambda: file.read(1 << 20), b"")), packed.stat().st_size
        if not self._deltas.begin(digest, base, name, size):
            packed.unlink()
            return False
        self._below.adopt(packed, name)
        if not self._holds(digest, name, base):
            self._take_back(digest, name)
            raise Damaged("A difference that was just written does not give its bytes back; they stay whole.")
        if not self._deltas.turn(digest, "ready"):  # swept meanwhile
            self._below.delete(name)
            return False
        self._below.delete(digest)
        return True

    def make_whole(self, digest: Digest, staged: Path) -> None:
        self._below.adopt(staged, digest)
        if self._deltas.turn(digest, "leaving"):
            self._take_back(digest, self._deltas.get(digest).packed)

    def passed_over(self, digest: Digest) -> None:
        self._deltas.passed_over(digest)

    def stranded(self) -> list[Delta]:
        return self._deltas.stranded()

    def readable(self, digest: Digest) -> bool:
        delta = self._ready(digest)
        return delta is not None and self._holds(digest, delta.packed, delta.base)

    def tidy(self) -> list[Digest]:
        alone = []
        for row in self._deltas.all():
            whole = self._below.size(row.digest) is not None
            if row.state != "ready":  # in both states the whole bytes are there
                self._take_back(row.digest, row.packed)
            elif not whole:
                alone.append(row.digest)
            elif self._holds(row.digest, row.packed, row.base):  # uploaded again, or the last step was not reached
                self._below.delete(row.digest)
            else:
                self._take_back(row.digest, row.packed)
        return alone

    # ---

    def _take_back(self, digest: Digest, packed: Digest) -> None:
        self._below.delete(packed)
        self._deltas.forget(digest)

    def _holds(self, digest: Digest, packed: Digest, base: Digest) -> bool:
        try:
            return sha256_of(self._unpacked(packed, base, 0, None)) == digest
        except (FileNotFoundError, Damaged):
            return False

    def _ready(self, digest: Digest) -> Delta | None:
        delta = self._deltas.get(digest)
        return delta if delta and delta.state == "ready" else None

    def _open(self, digest: Digest, start: int, stop: int | None) -> Iterator[bytes]:
        try:
            return self._below.read(digest, start, stop)
        except FileNotFoundError:
            delta = self._ready(digest)
            if delta is None:
                return self._below.read(digest, start, stop)  # made whole between the two questions, or not kept
            if self._below.size(delta.base) is None:
                raise
            return self._unpacked(delta.packed, delta.base, start, stop)

    def _followed(self, chunks: Iterator[bytes], digest: Digest, start: int, stop: int | None) -> Iterator[bytes]:
        for turn in range(_TURNS):
            try:
                for chunk in chunks:
                    start += len(chunk)
                    yield chunk
                return
            except FileNotFoundError:
                if turn == _TURNS - 1:
                    raise
                chunks = self._open(digest, start, stop)

    def _unpacked(self, packed: Digest, base: Digest, start: int, stop: int | None) -> Iterator[bytes]:
        index = self._index(packed)
        return read_range(index, self._fetch(packed), self._fetch(base), start, index.size if stop is None else stop)

    def _read_index(self, packed: Digest) -> Index:
        size = self._below.size(packed)
        if size is None:
            raise FileNotFoundError(packed)
        return read_index(size, self._fetch(packed))

    def _fetch(self, digest: Digest) -> Fetch:
        return lambda start, stop: b"".join(self._below.read(digest, start, stop))
