"""Receive bytes: into tmp/ while hashing, then under their digest. Knows no HTTP.

Order (docs/DESIGN): bytes to tmp → lease → fsync and rename into blobs → the digest counts as kept. A crash at
any step leaves a file in tmp or an unnamed blob; the sweep takes both.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from headwater.core.errors import BadInput, DiskFull, TooLarge
from headwater.core.types import Repo, Staged
from headwater.hub import Hub
from headwater.hub.git import blob_hasher

ADOPT_AT_ONCE = 8


class Intake:
    """One file being received. write() chunks, then finish(); used as a context manager it leaves nothing behind.

    limit: most bytes accepted. git_size: when the size is known beforehand and small, the git oid of the
    whole is computed as well.
    """

    def __init__(self, tmp: Path, limit: int, *, git_size: int | None = None):
        self._limit, self.size = limit, 0
        self._sha256 = hashlib.sha256()
        self._sha1 = blob_hasher(git_size) if git_size is not None else None
        try:
            tmp.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix="in-", dir=tmp)
        except OSError as error:
            raise disk_error(error) from error
        self.path = Path(name)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._done = False

    def write(self, chunk: bytes | memoryview) -> None:
        """Raises TooLarge past the limit, DiskFull when the disk is."""
        self.size += len(chunk)
        if self.size > self._limit:
            raise TooLarge(f"More than the {self._limit:,} bytes accepted here.")
        self._sha256.update(chunk)
        if self._sha1:
            self._sha1.update(chunk)
        try:
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view):]
        except OSError as error:
            raise disk_error(error) from error

    def finish(self) -> Staged:
        try:
            self._file.close()
        except OSError as error:
            raise disk_error(error) from error
        self._done = True
        return Staged(str(self.path), self._sha256.hexdigest(), self.size, self._sha1 and self._sha1.hexdigest())

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._done:
            self._file.close()
            self.path.unlink(missing_ok=True)


def stage(hub: Hub, chunks: Iterable[bytes], *, limit: int, git_size: int | None = None) -> Staged:
    """Receive a whole file from an iterable."""
    with Intake(hub.tmp, limit, git_size=git_size) as intake:
        for chunk in chunks:
            intake.write(chunk)
        return intake.finish()


def keep(hub: Hub, repo: Repo, staged: Staged) -> None:
    """Put staged bytes under their digest, leased to the repo until a commit names them."""
    keep_all(hub, repo, [staged])


def keep_all(hub: Hub, repo: Repo, received: Sequence[Staged]) -> None:
    """keep() for many files, with two transactions for all of them."""
    # The leases first: a sweep that runs between these lines sees them and leaves the bytes alone.
    hub.holdings.grant_all(repo, {s.digest: s.size for s in received}, seconds=hub.settings.upload_seconds)
    try:
        if len(received) == 1:
            hub.blobs.adopt(Path(received[0].path), received[0].digest)
        else:
            # Side by side: a disk makes several small files durable in about the time of one.
            with ThreadPoolExecutor(ADOPT_AT_ONCE) as pool:
                list(pool.map(lambda s: hub.blobs.adopt(Path(s.path), s.digest), received))
    except OSError as error:
        raise disk_error(error) from error
    hub.holdings.kept_all(s.digest for s in received)


def expect(staged: Staged, *, digest: str, size: int | None = None) -> None:
    """Raises BadInput, and drops the bytes, if they are not those announced."""
    if size is not None and staged.size != size:
        Path(staged.path).unlink(missing_ok=True)
        raise BadInput(f"{staged.size:,} bytes came where {size:,} were announced.", hint="Send the file again.")
    if staged.digest != digest:
        Path(staged.path).unlink(missing_ok=True)
        raise BadInput(f"The bytes hash to sha256 {staged.digest}, not {digest} as announced.",
                       hint="The file changed on the way or while it was read; send it again.")


def disk_error(error: OSError) -> Exception:
    """DiskFull for a full disk or quota, or a limit on a file's size; the error itself otherwise."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull("The hub's disk is full; nothing was kept.", hint="Free space or run `headwater sweep`.")
    return error
