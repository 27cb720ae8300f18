"""Where the bytes of a model file come from. Readers ask for ranges, so a header costs a header.

Knows nothing of formats, repos or the network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from headwater.core.errors import CorruptFile


class Source(Protocol):
    """Bytes of a known size, read by range."""

    size: int

    def read(self, start: int, stop: int) -> bytes:
        """Exactly the bytes [start, stop). Raises CorruptFile if they are not all there."""


class FileSource:
    """A local file. A context manager, which closes it."""

    def __init__(self, path: str | Path):
        # Unbuffered: readers ask for what they need, and a buffer would copy it once more and read beside it.
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by __exit__)
        self.size = self._file.seek(0, 2)

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()

    def read(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        data = self._file.read(stop - start)
        while 0 < len(data) < stop - start:  # the system gives at most 2 GiB at a time
            more = self._file.read(stop - start - len(data))
            if not more:
                break
            data += more
        return whole(data, start, stop)


class RangeSource:
    """Bytes behind a callable `fetch(start, stop)`: a blob store, an HTTP range request, a test.

    gap_bytes: how many unwanted bytes are cheaper to fetch than another request.
    """

    gap_bytes = 64 << 10

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]):
        self.size = size
        self._fetch = fetch

    def read(self, start: int, stop: int) -> bytes:
        return whole(self._fetch(start, stop), start, stop)


class BytesSource:
    """Bytes already in memory."""

    def __init__(self, data: bytes):
        self._data = data
        self.size = len(data)

    def read(self, start: int, stop: int) -> bytes:
        return whole(self._data[start:stop], start, stop)


def whole(data: bytes, start: int, stop: int) -> bytes:
    """`data`, if it is as long as the range asked for."""
    if len(data) != stop - start:
        raise CorruptFile(f"the file ends at byte {start + len(data)}; bytes {start} to {stop} were expected.")
    return data
