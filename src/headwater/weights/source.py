"""Where the bytes of a model file come from. Readers ask for ranges, so a header costs a header.

Knows nothing of formats, repos or the network.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from itertools import count
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
        data = os.pread(self._file.fileno(), stop - start, start)
        while 0 < len(data) < stop - start:  # the system gives at most 2 GiB at a time
            more = os.pread(self._file.fileno(), stop - start - len(data), start + len(data))
            if not more:
                break
            data += more
        return whole(data, start, stop)


class MappedSource(FileSource):
    """A local file whose bytes can be looked at where the system keeps them, without a copy.

    A process that looks at a file another one cuts short is killed: for files that do not change, in processes that may
    die (trace/child.py). Several threads may look, each through WINDOWS windows of its own, however many files are
    open. Address space: a window more for each thread; what was looked at of them counts as the process's memory.
    """

    WINDOW = 64 << 20
    WINDOWS = 4
    _own, _numbers = threading.local(), count()

    def __init__(self, path: str | Path):
        super().__init__(path)
        self._number = next(self._numbers)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._windows().pop(self._number, None)
        super().__exit__(kind, error, trace)

    def view(self, start: int, stop: int, wanted: int) -> memoryview | bytes:
        """As read(). wanted: how many of these bytes the caller will look at, for who counts them."""
        if stop > self.size or not 0 <= start < stop <= start + self.WINDOW:
            return self.read(start, stop)
        windows = self._windows()
        base, window = windows.get(self._number, (0, memoryview(b"")))
        if not base <= start <= stop <= base + len(window):
            windows.pop(self._number, None)
            while len(windows) >= self.WINDOWS:
                windows.pop(next(iter(windows)))
            base = start // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            length = min(self.size - base, self.WINDOW + mmap.ALLOCATIONGRANULARITY)
            # What still looks at a window that is given up keeps it; else it is unmapped here.
            window = memoryview(mmap.mmap(self._file.fileno(), length, access=mmap.ACCESS_READ, offset=base))
            windows[self._number] = base, window
        return window[start - base:stop - base]

    @classmethod
    def _windows(cls) -> dict[int, tuple[int, memoryview]]:
        """Of this thread, by number of the source: (where the window begins, its bytes). The oldest window is first."""
        if not hasattr(cls._own, "windows"):
            cls._own.windows = {}
        return cls._own.windows


def seen(source: Source, start: int, stop: int, wanted: int | None = None) -> memoryview | bytes:
    """The bytes [start, stop), without a copy where the source can. wanted: how many of them will be looked at."""
    view = getattr(source, "view", None)
    return source.read(start, stop) if view is None else view(start, stop, stop - start if wanted is None else wanted)


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
