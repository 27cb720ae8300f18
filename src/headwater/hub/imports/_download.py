"""Get one file by ranged GET, going on where a broken attempt ended, and prove its hash. Knows no API."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

from headwater.core.errors import BadInput, CorruptFile
from headwater.core.types import Digest, Oid, Staged
from headwater.hub.git import blob_hasher
from headwater.hub.imports._http import Transient, Upstream, failed
from headwater.hub.imports._shelf import Meter
from headwater.hub.intake import disk_error

TRIES = 6
"""Attempts in a row that bring no byte."""
FIRST_WAIT_S = 0.5
"""Doubled at each of them: about half a minute in all."""
CHUNK = 1 << 20


class Partial:
    """A file that grows, with its hashes. What an earlier process left of it is read and hashed first."""

    def __init__(self, path: Path, size: int, meter: Meter):
        self.path, self.whole, self._meter = path, size, meter
        self.size = 0
        self._file = path.open("ab+", buffering=0)
        self._begin()
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            self._count(chunk)
        self.resumed = self.size > 0
        if self.size > size:
            self.restart()

    def _begin(self) -> None:
        self.sha256, self.sha1 = hashlib.sha256(), blob_hasher(self.whole)

    def _count(self, chunk: bytes) -> None:
        self.sha256.update(chunk)
        self.sha1.update(chunk)
        self.size += len(chunk)
        self._meter.add(len(chunk))

    def write(self, chunk: bytes) -> None:
        """Raises DiskFull, and BadInput for bytes past the size that was announced."""
        if self.size + len(chunk) > self.whole:
            raise BadInput(f"The source sends more than the {self.whole:,} bytes it lists.")
        try:
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view):]
        except OSError as error:
            raise disk_error(error) from error
        self._count(chunk)

    def restart(self) -> None:
        os.ftruncate(self._file.fileno(), 0)
        self._meter.add(-self.size)
        self.size, self.resumed = 0, False
        self._begin()

    def close(self) -> None:
        self._file.close()


def download(upstream: Upstream, url: str, folder: Path, meter: Meter, *, path: str, size: int,
             digest: Digest | None, oid: Oid | None) -> Staged:
    """The file at url as <folder>/<its hash>.part, complete and proved.

    digest: its sha256, for a file that stands in git as a pointer; else oid, its git blob id. Raises CorruptFile,
    and keeps nothing, if the bytes hash otherwise; Unavailable, and keeps what came, if the source goes away.
    """
    part = Partial(folder / f"{digest or oid}.part", size, meter)
    try:
        while True:
            _fill(upstream, url, part, meter)
            if (digest or oid) == (part.sha256.hexdigest() if digest else part.sha1.hexdigest()):
                return Staged(str(part.path), part.sha256.hexdigest(), size, None if digest else oid)
            if not part.resumed:
                part.path.unlink()
                raise CorruptFile(
                    f"{path} arrives with the hash {part.sha256.hexdigest() if digest else part.sha1.hexdigest()}, and "
                    f"{upstream.shown} lists it with {digest or oid}. Nothing of it was kept.",
                    hint="The file was altered on the way, or the source is broken; tell whoever runs it.")
            part.restart()  # what was here before may have been the damaged half
    finally:
        part.close()


def _fill(upstream: Upstream, url: str, part: Partial, meter: Meter) -> None:
    tries = 0
    while part.size < part.whole:
        before = part.size
        try:
            _receive(upstream, url, part)
            error = Transient("the answer ended early")
        except Transient as failure:
            error = failure
        if part.size >= part.whole:
            return
        tries = 0 if part.size > before else tries + 1
        if tries >= TRIES:
            raise failed(upstream, error)
        pause(error.wait_s if error.wait_s is not None else FIRST_WAIT_S * 2 ** tries, meter)


def _receive(upstream: Upstream, url: str, part: Partial) -> None:
    headers = {"Range": f"bytes={part.size}-"} if part.size else {}
    with upstream.get(url, headers) as response:
        coded = response.headers.get("content-encoding", "identity") != "identity"
        starts = response.headers.get("content-range", "").startswith(f"bytes {part.size}-")
        if part.size and (response.status_code != 206 or not starts or coded):
            part.restart()  # the source does not go on where we are
            if response.status_code != 200:
                raise Transient(f"the source answers {response.status_code} to a range")
        elif response.status_code == 416:
            raise Transient("the source answers 416 to a request without a range")
        # As they come off the wire: what a larger chunk gathers is lost when the connection breaks.
        for chunk in response.iter_bytes() if coded else response.iter_raw():
            part.write(chunk)


def pause(seconds: float, meter: Meter) -> None:
    """Wait, a little more or less than `seconds`, and hear a cancel meanwhile."""
    until = time.monotonic() + seconds * random.uniform(0.8, 1.2)
    while (left := until - time.monotonic()) > 0:
        meter.add(0)
        time.sleep(min(left, 0.2))
