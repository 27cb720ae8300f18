"""Xorbs an account's clients may still refer to, and where their bytes are now. Knows no tokens and no HTTP.

A client remembers for about three weeks which chunks it has sent to an address, and later sends only a shard
that refers to them. So what is remembered there must be kept here, or the address must change. Both happen: each
scope (an account, or a token that opens only some repos) has a folder of generations, and a generation's name is
part of the address clients are given. Inside a generation, by xorb:

    <xorb>.chunks   hash and size of each chunk; kept as long as the generation
    <xorb>.raw      its bytes, unpacked; dropped once all of them stand in blobs
    <xorb>.places   which chunks stand in which blob, and where

A generation that leans on bytes the hub has dropped is retired: the next client is given a new one, knows
nothing of it, and sends its bytes again. Everything here may be lost at any time at that price and no other.
docs/design/002-xet.md says why.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, get_ident
from typing import ClassVar, NamedTuple

import numpy as np

from headwater.core.errors import BadInput
from headwater.core.types import Digest
from headwater.hub import Hub
from headwater.hub.intake import disk_error
from headwater.hub.xet_format import Chunks, hash_text

REMEMBERED_S = 21 * 86_400
"""How long clients remember what they sent."""
LEAN_MAX = 4096
"""A generation that leans on more blobs, or lists more xorbs, is retired: its health is asked at every token."""
_READ = 1 << 20
_NAME = re.compile(r"[0-9a-f]{16}\Z")
_CHUNK = np.dtype([("hash", "V32"), ("size", "<u4")])
_PLACE = np.dtype([("first", "<u4"), ("count", "<u4"), ("offset", "<u8"), ("digest", "V32")])


class Piece(NamedTuple):
    """Bytes [start, stop) of a file of this generation (a Path) or of a blob (its digest)."""

    source: Path | Digest
    start: int
    stop: int


@dataclass(frozen=True)
class Known:
    """What is known of a xorb: its chunks, where they begin in it, and where their bytes stand.

    raw: the file of all its bytes, or None when places tells where each part is. places: rows of _PLACE, sorted.
    """

    xorb: bytes
    chunks: Chunks
    offsets: np.ndarray
    raw: Path | None
    places: np.ndarray

    def locate(self, start: int, stop: int) -> list[Piece] | None:
        """Where the bytes of the chunks [start, stop) are, in order; None if they are nowhere."""
        if self.raw:
            return [Piece(self.raw, int(self.offsets[start]), int(self.offsets[stop]))]
        pieces = []
        while start < stop:
            row = int(np.searchsorted(self.places["first"], start, "right")) - 1
            if row < 0:
                return None
            place = self.places[row]
            first, end = int(place["first"]), min(int(place["first"] + place["count"]), stop)
            if end <= start:
                return None
            zero = int(place["offset"]) - int(self.offsets[first])
            pieces.append(Piece(place["digest"].tobytes().hex(), zero + int(self.offsets[start]),
                                zero + int(self.offsets[end])))
            start = end
        return pieces


class UnknownXorb(BadInput):
    """A shard refers to a xorb that is not here. The generation has been retired by then."""


@dataclass(frozen=True)
class Generation:
    """One folder of xorbs. `folder` names scope and generation."""

    hub: Hub
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    # --- what came

    def temporary(self) -> tuple[int, Path]:
        """An open file in this folder, to receive something in. Raises DiskFull."""
        try:
            handle, name = tempfile.mkstemp(prefix="in-", dir=self.folder)
        except OSError as error:
            raise disk_error(error) from error
        return handle, Path(name)

    def put(self, xorb: bytes, chunks: Chunks, received: Path) -> bool:
        """Take the unpacked bytes of a xorb from `received`. False if all of it was here already."""
        rows = np.empty(len(chunks), _CHUNK)
        rows["hash"], rows["size"] = np.frombuffer(chunks.hashes, "V32"), chunks.sizes
        with self._locked():
            if self._path(xorb, "chunks").exists() and self._whole(xorb, len(chunks)):
                received.unlink()
                return False
            # Bytes first: chunks without bytes would be a promise nobody keeps.
            os.replace(received, self._path(xorb, "raw"))
            self._write(self._path(xorb, "chunks"), rows)
        return True

    # --- where it is

    def known(self, xorb: bytes) -> Known:
        """Raises UnknownXorb."""
        try:
            rows = np.fromfile(self._path(xorb, "chunks"), _CHUNK)
        except FileNotFoundError:
            raise self.unknown(xorb) from None
        raw = self._path(xorb, "raw")
        chunks = Chunks(rows["hash"].tobytes(), rows["size"].astype(np.uint32))
        return Known(xorb, chunks, chunks.offsets, raw if raw.exists() else None, self._places(xorb))

    def raw(self, xorb: bytes) -> Path:
        """Where the bytes of a xorb are, or would be."""
        return self._path(xorb, "raw")

    def read(self, piece: Piece) -> Iterator[bytes]:
        """The bytes of a piece. Raises FileNotFoundError if it went away meanwhile."""
        if isinstance(piece.source, Path):
            return _read_file(*piece)
        return self.hub.blobs.read(*piece)

    def place(self, placed: dict[bytes, list[tuple[int, int, Digest, int]]]) -> None:
        """Note that these chunks of these xorbs, as (first, stop, digest, offset), stand in blobs now; drop the
        bytes of each xorb that stands in blobs whole."""
        for xorb, news in placed.items():
            known = self.known(xorb)
            with self._locked():
                self._write(self._path(xorb, "places"), _with(self._places(xorb), news, known.offsets))
                if self._whole(xorb, len(known.chunks), without_raw=True):
                    self._path(xorb, "raw").unlink(missing_ok=True)

    def unknown(self, xorb: bytes) -> UnknownXorb:
        """The error for a xorb that is not here; retires the generation, so that the next push is told."""
        self.retire()
        return UnknownXorb(f"Xorb {hash_text(xorb)} was never sent here, or the hub has dropped its bytes.",
                           hint="Push once more: the client will send what is missing.")

    # --- how long

    def retire(self) -> None:
        (self.folder / "retired").touch()

    def touch(self) -> None:
        os.utime(self.folder)

    def healthy(self) -> bool:
        """Whether all bytes a client may refer to are still here."""
        if (self.folder / "retired").exists():
            return False
        old = self.hub.now() - self.hub.settings.upload_seconds
        xorbs, leans = 0, set()
        for file in self.folder.iterdir():
            if file.suffix == ".raw" and _changed_at(file) < old:
                return False
            if file.suffix == ".chunks":
                xorbs += 1
                places = self._standing(bytes.fromhex(file.stem), file.stat().st_size // _CHUNK.itemsize)
                if places is None:
                    return False
                leans.update(places["digest"].tolist())
        if len(leans) > LEAN_MAX or xorbs > LEAN_MAX:
            return False
        return not self.hub.holdings.lost(digest.hex() for digest in leans)

    def _standing(self, xorb: bytes, count: int) -> np.ndarray | None:
        """Where a xorb stands; None if some of it stands nowhere, as after a crash half way through a move."""
        raw = self.raw(xorb)
        there = raw.exists() or Move.is_under_way(raw)  # asked before places is read: a move ends by writing that
        places = self._places(xorb)
        return places if there or int(places["count"].sum()) == count else None

    def expired(self) -> bool:
        """Whether nobody can be using it any more."""
        try:
            idle = self.hub.now() - max(file.stat().st_mtime for file in (self.folder, *self.folder.glob("in-*")))
            if idle < self.hub.settings.upload_seconds:
                return False
            return idle > REMEMBERED_S or (self.folder / "retired").exists() or any(self.folder.glob("*.raw"))
        except FileNotFoundError:
            return False

    # --- inside

    def _path(self, xorb: bytes, what: str) -> Path:
        return self.folder / f"{xorb.hex()}.{what}"

    def _places(self, xorb: bytes) -> np.ndarray:
        try:
            return np.fromfile(self._path(xorb, "places"), _PLACE)
        except FileNotFoundError:
            return np.zeros(0, _PLACE)

    def _whole(self, xorb: bytes, count: int, *, without_raw: bool = False) -> bool:
        if not without_raw and self._path(xorb, "raw").exists():
            return True
        return int(self._places(xorb)["count"].sum()) == count

    def _write(self, path: Path, rows: np.ndarray) -> None:
        handle, name = self.temporary()
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(rows.tobytes())
            os.replace(name, path)
        except OSError as error:
            Path(name).unlink(missing_ok=True)
            raise disk_error(error) from error

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return _locked(self.folder)


class Move:
    """Files being given up while what is in them is written elsewhere. Others who look for them wait meanwhile."""

    # Of the whole process: which file is given up by which thread.
    _under_way: ClassVar[dict[Path, int]] = {}
    _changed = Condition()

    def __init__(self, files: Iterable[Path]):
        self._files = set(files)
        self.begun = False

    def __enter__(self) -> Move:
        with Move._changed:
            self._files -= Move._under_way.keys()
            Move._under_way.update(dict.fromkeys(self._files, get_ident()))
        return self

    def __exit__(self, *error: object) -> None:
        with Move._changed:
            for file in self._files:
                del Move._under_way[file]
            Move._changed.notify_all()

    def done_with(self, source: Path | Digest) -> None:
        """All of `source` has been written elsewhere."""
        if source in self._files:
            self.begun = True
            source.unlink(missing_ok=True)

    @staticmethod
    def is_under_way(file: Path) -> bool:
        return file in Move._under_way

    @staticmethod
    def wait_for(file: Path) -> None:
        """Until no other thread gives up this file."""
        mine = (None, get_ident())
        with Move._changed:
            Move._changed.wait_for(lambda: Move._under_way.get(file) in mine)


def current(hub: Hub, scope: str) -> Generation:
    """The generation clients of this scope are to use now; a new one if the last leans on bytes that are gone."""
    home = _home(hub, scope)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home):
            for folder in sorted(home.iterdir()):
                generation = Generation(hub, folder)
                if _NAME.match(folder.name) and not (folder / "retired").exists():
                    if generation.healthy():
                        generation.touch()
                        return generation
                    generation.retire()
            fresh = Generation(hub, home / secrets.token_hex(8))
            fresh.folder.mkdir()
            return fresh
    except OSError as error:
        raise disk_error(error) from error


def find(hub: Hub, scope: str, name: str) -> Generation:
    """The generation of this name, if it belongs to the scope. Raises BadInput."""
    generation = Generation(hub, _home(hub, scope) / name)
    if not _NAME.match(name) or not generation.folder.is_dir():
        raise BadInput("This address for uploads is no longer used, or never was yours.", hint="Start the push again.")
    generation.touch()
    return generation


def tidy(hub: Hub) -> int:
    """Drop the generations nobody can be using any more, and what was received in part; how many of both."""
    dropped, old = 0, hub.now() - hub.settings.upload_seconds
    for folder in sorted((hub.tmp / "xet").glob("*/*")):
        if not _NAME.match(folder.name):
            continue
        if Generation(hub, folder).expired():
            shutil.rmtree(folder, ignore_errors=True)
            dropped += 1
            continue
        for part in folder.glob("in-*"):
            with contextlib.suppress(FileNotFoundError):
                if part.stat().st_mtime < old:
                    part.unlink()
                    dropped += 1
    return dropped


def _home(hub: Hub, scope: str) -> Path:
    return hub.tmp / "xet" / hashlib.sha256(scope.encode()).hexdigest()[:32]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with open(folder / "lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # it has just moved into a blob
        return float("inf")


def _read_file(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < stop:
            block = file.read(min(_READ, stop - start))
            if not block:
                raise FileNotFoundError(path)
            start += len(block)
            yield block


def _with(places: np.ndarray, news: list[tuple[int, int, Digest, int]], offsets: np.ndarray) -> np.ndarray:
    """The places with the new ones, sorted, each chunk once: who was there first stays."""
    free = np.ones(len(offsets) - 1, bool)
    for first, count in zip(places["first"].tolist(), places["count"].tolist(), strict=True):
        free[first:first + count] = False
    rows = []
    for first, stop, digest, offset in news:
        for start, end in _runs(free[first:stop]):
            begins = offset + int(offsets[first + start] - offsets[first])
            rows.append((first + start, end - start, begins, bytes.fromhex(digest)))
        free[first:stop] = False
    every = np.concatenate((places, np.array(rows, _PLACE)))
    return every[np.argsort(every["first"])]


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
