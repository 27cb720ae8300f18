"""Blobs as plain files: blobs/aa/bb/<sha256>. Verifies nothing itself: it is told the digest. Knows no records.

docs/design/001-blobs.md says why these are plain files.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from headwater.core.errors import DiskFull
from headwater.core.types import Digest

CHUNK = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class FolderBlobs:
    """Files under `root`, which is made if need be. Staged files must lie on the same file system."""

    def __init__(self, root: Path):
        self._root = root.absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        self._durable: set[Path] = set()

    def adopt(self, staged: Path, digest: Digest) -> None:
        """Raises DiskFull; the staged file is then still there."""
        target = self._file(digest)
        try:
            with open(staged, "rb") as file:
                os.fchmod(file.fileno(), 0o444)  # engines get hard links to it: nothing may write through them
                os.fsync(file.fileno())
            self._make_folder(target.parent)
            # Over an older file of the same name too: what was just hashed is better than what may have rotted.
            os.replace(staged, target)
            _sync_folder(target.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull("The hub's disk is full; nothing was kept.",
                               hint="Free space and send the file again.") from error
            raise

    def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        file = open(self._file(digest), "rb", buffering=0)  # noqa: SIM115  closed by _chunks
        return _chunks(file, start, stop)

    def size(self, digest: Digest) -> int | None:
        try:
            return self._file(digest).stat().st_size
        except FileNotFoundError:
            return None

    def path(self, digest: Digest) -> Path | None:
        """Where the file is or would be."""
        return self._file(digest)

    def delete(self, digest: Digest) -> None:
        self._file(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[Digest]:
        for folder in self._root.glob("??/??"):
            yield from (name for name in os.listdir(folder) if _DIGEST.match(name))

    def _file(self, digest: Digest) -> Path:
        if not _DIGEST.match(digest):
            raise ValueError(f"not a sha256: {digest[:80]!r}")
        return self._root / digest[:2] / digest[2:4] / digest

    def _make_folder(self, folder: Path) -> None:
        # That a folder is there does not say that its name was synced: another thread may be between the two.
        if folder not in self._durable:
            folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(folder.parent)
            _sync_folder(self._root)
            self._durable.add(folder)


def _chunks(file: BinaryIO, start: int, stop: int | None) -> Iterator[bytes]:
    with file:
        file.seek(start)
        left = CHUNK if stop is None else stop - start
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            if stop is not None:
                left -= len(chunk)
            yield chunk


def _sync_folder(folder: Path) -> None:
    """Make names in the folder survive a power cut; the file's own fsync does not."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
