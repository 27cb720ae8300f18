"""The file that holds a difference: packed blocks of at most a mebibyte, and at the end the index that finds them.

    b"HWDIFF01"   blocks   index (zstd of rows as _ROW)   footer as _FOOTER

Any range of the whole is read from the blocks it touches, the base's bytes under them, and nothing else. Each block
carries the crc32 of what it unpacks to, so bytes that rotted, here or in the base, end in Damaged and are never handed
out. Knows where neither the base nor this file is kept: it is handed `fetch`.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from headwater.core.errors import Damaged
from headwater.core.types import Digest, Pair
from headwater.storage.blobs.difference import FORMS, form_of, pack_block, unpack_block

BLOCK = 1 << 20
MAGIC = b"HWDIFF01"
AHEAD = 2
"""Blocks in the making beside the one that is handed out: what one reader takes is a few mebibytes."""
_FOOTER = struct.Struct("<QIIQI32s32s8s")  # index at, its length, rows, size of the whole, crc32, digest, base, magic
FOOTER_BYTES = _FOOTER.size
_ROW = np.dtype([("start", "<u8"), ("base", "<i8"), ("at", "<u8"), ("size", "<u4"), ("length", "<u4"), ("crc", "<u4"),
                 ("form", "u1"), ("kind", "u1")])
_MOST_ROWS = 1 << 24
Fetch = Callable[[int, int], bytes]
Made = TypeVar("Made")


class Index(NamedTuple):
    """What the end of the file says. rows: one a block, in the order of the whole; base -1: it needs none."""

    size: int
    digest: Digest
    base: Digest
    rows: np.ndarray


class Span(NamedTuple):
    """Bytes [start, stop) of the whole, numbers of one form; base: where the like of them begin, or -1."""

    start: int
    stop: int
    base: int
    form: int


def spans_of(pairs: Iterable[Pair], size: int) -> list[Span]:
    """All of [0, size), neighbours that follow each other on both sides as one. pairs: apart from each other."""
    spans, at = [], 0
    for pair in sorted(pairs, key=lambda p: p.start):
        spans += [Span(at, pair.start, -1, 0), Span(pair.start, pair.stop, pair.base, form_of(pair.dtype))]
        at = pair.stop
    joined: list[Span] = []
    for span in [*spans, Span(at, size, -1, 0)]:
        last = joined[-1] if joined else None
        if span.start == span.stop:
            continue
        if last and last.form == span.form and last.base >= 0 and last.base + last.stop - last.start == span.base:
            joined[-1] = last._replace(stop=span.stop)
        else:
            joined.append(span)
    return joined


def blocks_of(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans cut at BLOCK. A span whose length is no multiple of its width is taken as bytes."""
    for span in spans:
        form = span.form if (span.stop - span.start) % FORMS[span.form].width == 0 else 0
        for at in range(span.start, span.stop, BLOCK):
            yield Span(at, min(at + BLOCK, span.stop), span.base + at - span.start if span.base >= 0 else -1, form)


def write_packed(target: Path, digest: Digest, base: Digest, spans: list[Span], child: Fetch, parent: Fetch, *,
                 most: int, tell: Callable[[int], None]) -> int | None:
    """Write the file; its size, or None (and no file) once it is clear that it would be larger than `most`."""
    def pack(block: Span) -> tuple[Span, int, int, bytes]:
        mine = child(block.start, block.stop)
        theirs = parent(block.base, block.base + len(mine)) if block.base >= 0 else None
        if theirs is not None and len(theirs) != len(mine):
            raise Damaged("The base of a difference ends early.")
        kind, packed = pack_block(mine, theirs, block.form)
        return block, kind, zlib.crc32(mine), packed

    rows, at = [], len(MAGIC)
    with target.open("wb") as file:
        file.write(MAGIC)
        for block, kind, crc, packed in _ahead(pack, blocks_of(spans)):
            rows.append((block.start, block.base if kind == 2 else -1, at, block.stop - block.start, len(packed), crc,
                         block.form, kind))
            file.write(packed)
            at += len(packed)
            if at > most:
                break
            tell(block.stop)
        else:
            index = _zstd_compress(np.array(rows, _ROW).tobytes())
            file.write(index + _FOOTER.pack(at, len(index), len(rows), spans[-1].stop if spans else 0,
                                            zlib.crc32(index), bytes.fromhex(digest), bytes.fromhex(base), MAGIC))
            return file.tell()
    target.unlink()
    return None


def estimate(spans: list[Span], child: Fetch, parent: Fetch, *, samples: int = 8) -> float:
    """Share of its size that the whole would take, from a few blocks spread over it."""
    blocks = list(blocks_of(spans))
    blocks = [blocks[int(n)] for n in np.unique(np.linspace(0, len(blocks) - 1, min(samples, len(blocks))))]
    packed = whole = 0
    for block in blocks:
        mine = child(block.start, block.stop)
        theirs = parent(block.base, block.base + len(mine)) if block.base >= 0 else None
        packed, whole = packed + len(pack_block(mine, theirs, block.form)[1]), whole + len(mine)
    return packed / max(whole, 1)


def read_index(size: int, fetch: Fetch) -> Index:
    """Raises Damaged."""
    import zstandard

    try:
        tail = fetch(max(0, size - FOOTER_BYTES), size)
        at, length, count, whole, crc, digest, base, magic = _FOOTER.unpack(tail)
        packed = fetch(at, at + length) if at + length + FOOTER_BYTES == size and count <= _MOST_ROWS else b""
        if magic != MAGIC or zlib.crc32(packed) != crc:
            raise ValueError("the end of the file is not what was written")
        unpacked = zstandard.ZstdDecompressor().decompress(packed, max_output_size=count * _ROW.itemsize)
        rows = np.frombuffer(unpacked, _ROW)
        if len(rows) != count or (rows["size"] > BLOCK).any() or int(rows["size"].sum(dtype=np.uint64)) != whole:
            raise ValueError("its index does not hold together")
    except (ValueError, struct.error, zstandard.ZstdError) as error:
        raise Damaged(f"A difference cannot be read: {error}.") from None
    return Index(whole, digest.hex(), base.hex(), rows)


def read_range(index: Index, packed: Fetch, parent: Fetch, start: int, stop: int) -> Iterator[bytes]:
    """The bytes [start, stop) of the whole, a block at a time. Raises Damaged, or what the fetches raise."""
    stop = min(stop, index.size)
    if start >= stop:
        return
    starts = index.rows["start"]
    first, last = int(np.searchsorted(starts, start, "right")) - 1, int(np.searchsorted(starts, stop, "left"))

    def unpack(number: int) -> tuple[int, bytes]:
        row = index.rows[number]
        size, at, base = int(row["size"]), int(row["at"]), int(row["base"])
        theirs = parent(base, base + size) if base >= 0 else None
        try:
            data = unpack_block(row["kind"], packed(at, at + int(row["length"])), theirs, int(row["form"]), size)
        except ValueError as error:
            raise Damaged(f"A difference cannot be read: {error}.") from None
        if len(data) != size or zlib.crc32(data) != row["crc"]:
            raise Damaged("Bytes kept as a difference are not what was kept: the difference or its base rotted.",
                          hint="`headwater scrub` finds which; upload that file again.")
        return int(row["start"]), data

    for begin, data in _ahead(unpack, range(first, last)):
        yield data[max(0, start - begin):stop - begin]


def sha256_of(chunks: Iterable[bytes]) -> Digest:
    running = hashlib.sha256()
    for chunk in chunks:
        running.update(chunk)
    return running.hexdigest()


def _ahead(work: Callable[..., Made], items: Iterable[object]) -> Iterator[Made]:
    """work(item) in order, up to AHEAD of them under way in the pool while one is handed out."""
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(_pool().submit(work, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="difference")


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork: the child makes its own


def _zstd_compress(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=3).compress(data)
