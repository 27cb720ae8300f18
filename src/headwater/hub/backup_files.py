"""Where a backup lies: a folder or one .tar file, for writing and for reading. Knows names and bytes, not meaning."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from headwater.core.errors import BadInput, Conflict, CorruptFile
from headwater.core.types import Digest

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


class Target(Protocol):
    """A backup being written. Nothing counts before finish()."""

    def has(self, digest: Digest, size: int) -> bool:
        """Whether an earlier backup into the same place left these bytes."""

    def records(self, file: Path, name: str) -> None: ...

    def put(self, digest: Digest, size: int, chunks: Iterator[bytes]) -> bool:
        """False if the bytes do not hash to the digest, or have another size."""

    def finish(self, manifest: dict[str, Any], named: Set[Digest]) -> None: ...

    def abandon(self) -> None: ...


class Source(Protocol):
    """A finished backup."""

    manifest: dict[str, Any]

    def open(self, name: str) -> BinaryIO:
        """Raises CorruptFile if the backup does not hold a file of that name."""

    def close(self) -> None: ...


def blob_name(digest: Digest) -> str:
    return f"blobs/{digest[:2]}/{digest[2:4]}/{digest}"


def open_target(path: Path) -> Target:
    """A .tar file when the name says so, else a folder. Raises Conflict for a place that holds something else."""
    return _TarTarget(path) if path.suffix == ".tar" else _FolderTarget(path)


def open_source(path: Path) -> Source:
    """Raises BadInput for a path without a backup, CorruptFile for one that is broken."""
    if path.is_dir():
        return _FolderSource(path)
    if path.is_file():
        return _TarSource(path)
    raise BadInput(f"There is no backup at {path}.", hint="Name the folder or .tar file that `headwater backup` wrote.")


# --- a folder: a later backup into it copies only what is new


class _FolderTarget:
    def __init__(self, path: Path):
        self._path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        strange = [p.name for p in path.iterdir()
                   if p.name not in (MANIFEST, MANIFEST + ".part", "blobs") and not p.name.startswith("records-")]
        if strange:
            raise Conflict(f"{path} holds something that is no backup: {strange[0]}.", hint="Name an empty folder.")

    def has(self, digest: Digest, size: int) -> bool:
        try:
            return (self._path / blob_name(digest)).stat().st_size == size
        except FileNotFoundError:
            return False

    def records(self, file: Path, name: str) -> None:
        self._write(name, _chunks(file))

    def put(self, digest: Digest, size: int, chunks: Iterator[bytes]) -> bool:
        return self._write(blob_name(digest), chunks, digest=digest)

    def finish(self, manifest: dict[str, Any], named: Set[Digest]) -> None:
        self._write(MANIFEST, iter([_json(manifest)]))
        for old in self._path.glob("records-*"):
            if old.name != manifest["records"]:
                old.unlink()
        for old in self._path.glob("blobs/*/*/*"):
            if old.name not in named:
                old.unlink()

    def abandon(self) -> None:
        """What was copied stays: the next backup into this folder goes on from it."""

    def _write(self, name: str, chunks: Iterator[bytes], digest: Digest | None = None) -> bool:
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part, running = target.with_name(target.name + ".part"), hashlib.sha256()
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for chunk in chunks:
                    running.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest is not None and running.hexdigest() != digest:
                return False
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return True


class _FolderSource:
    def __init__(self, path: Path):
        self._path = path
        if not (path / MANIFEST).is_file():
            raise BadInput(f"{path} holds no finished backup: it has no {MANIFEST}.",
                           hint="Run `headwater backup` into it again, or name another.")
        self.manifest = _parse((path / MANIFEST).read_bytes())

    def open(self, name: str) -> BinaryIO:
        try:
            return (self._path / name).open("rb")
        except FileNotFoundError:
            raise _missing(name) from None

    def close(self) -> None:
        pass


# --- one file


class _TarTarget:
    def __init__(self, path: Path):
        if path.exists():
            raise Conflict(f"{path} is there already.", hint="Name another file, or remove it first.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._part = path, path.with_name(path.name + ".part")
        self._file = open(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")  # noqa: SIM115
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def has(self, digest: Digest, size: int) -> bool:
        return False

    def records(self, file: Path, name: str) -> None:
        with file.open("rb") as stream:
            self._add(name, file.stat().st_size, stream)

    def put(self, digest: Digest, size: int, chunks: Iterator[bytes]) -> bool:
        stream = _Exactly(size, chunks)
        self._add(blob_name(digest), size, stream)
        return stream.good and stream.running.hexdigest() == digest

    def finish(self, manifest: dict[str, Any], named: Set[Digest]) -> None:
        body = _json(manifest)
        self._add(MANIFEST, len(body), io.BytesIO(body))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)

    def abandon(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _add(self, name: str, size: int, stream: Any) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._tar.addfile(info, stream)


class _Exactly:
    """Chunks as a stream of exactly `size` bytes, as a tar wants it. good: whether there were just so many."""

    def __init__(self, size: int, chunks: Iterator[bytes]):
        self._left, self._chunks, self._rest = size, chunks, b""
        self.good, self.running = True, hashlib.sha256()

    def read(self, count: int) -> bytes:
        out = bytearray()
        while len(out) < count and self._left:
            if not self._rest and not (chunk := next(self._chunks, b"")):
                self.good = False
                chunk = bytes(min(count, self._left))
            self._rest = self._rest or chunk
            taken = self._rest[:min(count - len(out), self._left)]
            self._rest = self._rest[len(taken):]
            self._left -= len(taken)
            self.running.update(taken)
            out += taken
        if not self._left and (self._rest or next(self._chunks, b"")):
            self.good = False
        return bytes(out)


class _TarSource:
    def __init__(self, path: Path):
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115  closed by close()
            members = {m.name: m for m in self._tar if m.isreg()}
        except (tarfile.TarError, EOFError) as error:
            raise CorruptFile(f"{path} is not a whole tar file: {error}.", hint="Use another backup.") from None
        self._members = members
        if MANIFEST not in members or members[MANIFEST].size > 1 << 28:
            raise CorruptFile(f"{path} holds no {MANIFEST}: it was cut short, or is no backup.",
                              hint="Use another backup.")
        self.manifest = _parse(self.open(MANIFEST).read())

    def open(self, name: str) -> BinaryIO:
        if name not in self._members:
            raise _missing(name)
        return self._tar.extractfile(self._members[name])

    def close(self) -> None:
        self._tar.close()


def _missing(name: str) -> CorruptFile:
    return CorruptFile(f"The backup lacks {name}.", hint="Use another backup.")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()


def _parse(body: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(body)
    except (ValueError, RecursionError):
        raise CorruptFile(f"{MANIFEST} of the backup is not JSON.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != 1:
        raise CorruptFile("The backup is of a format this version of Headwater does not know.",
                          hint="Restore with the version that made it.")
    return manifest


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def free_bytes(path: Path) -> int:
    """Free space where `path` is or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
