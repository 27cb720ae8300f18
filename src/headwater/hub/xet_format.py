"""The Xet formats as bytes: hashes, xorbs, shards. Pure functions of bytes; knows no files, hub or HTTP.

Written from the public specification (xet-core: spec/hashing.md, spec/xorb.md, spec/shard.md).
A hash is 32 raw bytes here. Its text, in URLs, is four little-endian u64 printed in hexadecimal: `hash_text`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import lz4.frame
import numpy as np
from blake3 import blake3

from headwater.core.errors import BadInput, CorruptFile

CHUNK_MAX = 128 * 1024
"""Largest chunk, unpacked."""
PACKED_MAX = 2 * CHUNK_MAX
XORB_MAX = 64 * 1024 * 1024
"""Most bytes of chunks in a xorb, unpacked."""
XORB_CHUNKS_MAX = 8 * 1024
FOOTER_MAX = 256 + 40 * XORB_CHUNKS_MAX
BODY_MAX = XORB_MAX + 8 * XORB_CHUNKS_MAX + FOOTER_MAX
"""Largest body of a xorb: its chunks not compressed at all, their headers, the footer."""
SHARD_MAX = 64 * 1024 * 1024 + 4096

_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_RANGE_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = bytes(32)
_NOTHING = bytes(32)

_FOOTER_MARK = b"XETBLOB"
_SHARD_TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
_SHARD_VERSION = 2
_RECORD = 48
_BOOKEND = b"\xff" * 32
_WITH_RANGES, _WITH_SHA256 = 1 << 31, 1 << 30

_SEGMENT = np.dtype([("xorb", "V32"), ("flags", "<u4"), ("bytes", "<u4"), ("start", "<u4"), ("stop", "<u4")])
_LISTED = np.dtype([("hash", "V32"), ("at", "<u4"), ("size", "<u4"), ("unused", "V8")])


# --- hashes


def hash_text(value: bytes) -> str:
    """64 hexadecimal characters, each group of eight bytes turned round."""
    return "{:016x}{:016x}{:016x}{:016x}".format(*struct.unpack("<4Q", value))


def hash_value(text: str) -> bytes:
    """The 32 bytes of a hash written by `hash_text`. Raises BadInput."""
    try:
        if len(text) != 64 or text != text.lower():
            raise ValueError
        return np.frombuffer(bytes.fromhex(text), ">u8").astype("<u8").tobytes()
    except ValueError:
        raise BadInput(f"{text[:80]!r} is no Xet hash: 64 lower-case hexadecimal characters.") from None


def chunk_hash(data: bytes | memoryview) -> bytes:
    return blake3(data, key=_CHUNK_KEY).digest()


@dataclass(frozen=True)
class Chunks:
    """Consecutive chunks: their hashes end to end (32 bytes each) and their unpacked sizes (uint32, shape [n])."""

    hashes: bytes
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    def part(self, start: int, stop: int) -> Chunks:
        return Chunks(self.hashes[32 * start:32 * stop], self.sizes[start:stop])

    @property
    def offsets(self) -> np.ndarray:
        """Where each chunk begins, and where the last one ends: int64, shape [n + 1]."""
        return np.concatenate(([0], np.cumsum(self.sizes, dtype=np.int64)))


class Merkle:
    """Root of the tree over chunks that come in order: add() them, then root(). Holds a few nodes a level.

    A node has one to nine children: it ends after its third or later child whose hash, as a number, is a
    multiple of four. A child is written as "its hash : its size in bytes" and a line feed.
    """

    def __init__(self) -> None:
        self._levels: list[list[tuple[bytes, int]]] = [[]]

    def add(self, chunks: Chunks) -> None:
        hashes = chunks.hashes
        self._levels[0] += [(hashes[32 * i:32 * i + 32], size) for i, size in enumerate(chunks.sizes.tolist())]
        level = 0
        while level < len(self._levels) and len(self._levels[level]) >= 9:
            self._close(level, keep=8)
            level += 1

    def root(self) -> bytes:
        """All zeros when nothing was added. To be asked once."""
        level = 0
        while level + 1 < len(self._levels) or len(self._levels[level]) > 1:
            self._close(level, keep=0)
            level += 1
        return self._levels[level][0][0] if self._levels[level] else _NOTHING

    def _close(self, level: int, keep: int) -> None:
        """Make parents of the nodes of a level until at most `keep` are left: a later one might join those."""
        if level + 1 == len(self._levels):
            self._levels.append([])
        nodes, start = self._levels[level], 0
        while len(nodes) - start > keep:
            stop = _node_end(nodes, start)
            text = "".join([f"{hash_text(value)} : {size}\n" for value, size in nodes[start:stop]])
            total = sum([size for _, size in nodes[start:stop]])
            self._levels[level + 1].append((blake3(text.encode(), key=_NODE_KEY).digest(), total))
            start = stop
        del nodes[:start]


def _node_end(nodes: list[tuple[bytes, int]], start: int) -> int:
    end = min(start + 9, len(nodes))
    for i in range(start + 2, end):
        if nodes[i][0][24] & 3 == 0:  # the last of the four numbers, modulo four
            return i + 1
    return end


def xorb_hash(chunks: Chunks) -> bytes:
    tree = Merkle()
    tree.add(chunks)
    return tree.root()


def file_hash(parts: Iterable[Chunks]) -> bytes:
    """What the clients call the Xet hash of a file made of these chunks. An empty file's is all zeros."""
    tree = Merkle()
    for part in parts:
        tree.add(part)
    root = tree.root()
    return blake3(root, key=_FILE_KEY).digest() if root != _NOTHING else _NOTHING


def range_hash(hashes: bytes) -> bytes:
    """Proof that somebody knows the hashes of these chunks (end to end, 32 bytes each)."""
    return blake3(hashes, key=_RANGE_KEY).digest()


# --- xorbs


class XorbDecoder:
    """Unpacks a xorb as it arrives: feed() its bytes in pieces of any size, then finish().

    Holds at most one packed chunk beyond what it is fed. Every method raises CorruptFile on the first byte that
    cannot be, naming the chunk.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._in_footer = False
        self._hashes: list[bytes] = []
        self._sizes: list[int] = []
        self._packed = self._unpacked = 0
        self._lz4 = lz4.frame.create_decompression_context()

    def feed(self, data: bytes | bytearray) -> list[bytes | memoryview]:
        """The chunks that became complete, unpacked, in order. They may be views of `data`."""
        self._packed += len(data)
        if self._packed > BODY_MAX:
            raise CorruptFile(f"The xorb is longer than the {BODY_MAX:,} bytes one may take.")
        view, done = memoryview(data), []
        at = self._complete(view, done)
        while not self._in_footer and len(view) - at >= 8:
            length = self._length(view[at:at + 8])
            if self._in_footer or len(view) - at < length:
                break
            done.append(self._chunk(view[at:at + length]))
            at += length
        self._pending += view[at:]
        return done

    def _complete(self, view: memoryview, done: list[bytes | memoryview]) -> int:
        """Finish the chunk that began in an earlier piece; how much of this piece that took."""
        at, length = 0, 8
        while self._pending and not self._in_footer:
            more = view[at:at + max(0, length - len(self._pending))]
            self._pending += more
            at += len(more)
            if len(self._pending) < length:
                break
            if length > 8:
                done.append(self._chunk(memoryview(bytes(self._pending))))
                self._pending.clear()
            else:
                length = self._length(memoryview(bytes(self._pending[:8])))
        return at

    def finish(self, expected: bytes) -> Chunks:
        """The chunks, once all bytes were fed. Raises CorruptFile unless their tree's root is `expected`."""
        if self._pending and not self._in_footer:
            raise CorruptFile(f"The xorb ends inside chunk {len(self._sizes)}.", hint="Send it again.")
        if not self._sizes:
            raise CorruptFile("The xorb holds no chunk.")
        chunks = Chunks(b"".join(self._hashes), np.array(self._sizes, np.uint32))
        found = xorb_hash(chunks)
        if found != expected:
            raise CorruptFile(f"The xorb's chunks make {hash_text(found)}, not {hash_text(expected)} as its address "
                              "says.", hint="It changed on the way; send it again.")
        if self._in_footer:
            _check_footer(bytes(self._pending), found)
        return chunks

    def _length(self, header: memoryview) -> int:
        """Length of the next chunk, header included. Notes when the footer begins instead."""
        if header[:7] == _FOOTER_MARK:
            self._in_footer = True
            return 8
        i = len(self._sizes)
        packed, size = int.from_bytes(header[1:4], "little"), int.from_bytes(header[5:8], "little")
        if header[0] != 0:
            raise CorruptFile(f"Chunk {i} of the xorb has version {header[0]}; only 0 is known.")
        if header[4] > 2:
            raise CorruptFile(f"Chunk {i} of the xorb is packed with scheme {header[4]}; 0, 1 and 2 are known.")
        if not 0 < size <= CHUNK_MAX:
            raise CorruptFile(f"Chunk {i} of the xorb claims {size:,} bytes; 1 to {CHUNK_MAX:,} are allowed.")
        if not 0 < packed <= PACKED_MAX:
            raise CorruptFile(f"Chunk {i} of the xorb is packed into {packed:,} bytes; {PACKED_MAX:,} are allowed.")
        if i >= XORB_CHUNKS_MAX:
            raise CorruptFile(f"The xorb holds more than {XORB_CHUNKS_MAX:,} chunks.")
        if self._unpacked + size > XORB_MAX:
            raise CorruptFile(f"The xorb unpacks to more than {XORB_MAX:,} bytes.")
        return 8 + packed

    def _chunk(self, whole: memoryview) -> bytes | memoryview:
        """A chunk with its header, unpacked."""
        scheme, size, packed = whole[4], int.from_bytes(whole[5:8], "little"), whole[8:]
        data: bytes | memoryview = packed if scheme == 0 else self._unlz4(packed, size)
        if len(data) != size:
            raise CorruptFile(f"Chunk {len(self._sizes)} of the xorb unpacks to {len(data):,} bytes or more, not "
                              f"{size:,} as its header says.")
        if scheme == 2:
            data = ungroup4(data)
        self._hashes.append(chunk_hash(data))
        self._sizes.append(size)
        self._unpacked += size
        return data

    def _unlz4(self, packed: memoryview, size: int) -> bytes:
        # One byte more than announced is asked for: a bomb is cut there, whatever its frame says of itself.
        lz4.frame.reset_decompression_context(self._lz4)
        try:
            data, used, ended = lz4.frame.decompress_chunk(self._lz4, packed, max_length=size + 1)
        except RuntimeError as error:
            raise CorruptFile(f"Chunk {len(self._sizes)} of the xorb is no LZ4 frame: {error}.") from None
        if len(data) == size and not (ended and used == len(packed)):
            raise CorruptFile(f"The LZ4 frame of chunk {len(self._sizes)} of the xorb does not end where it should.")
        return data


def ungroup4(data: bytes) -> memoryview:
    """Undo byte grouping: all first bytes of each four, then all second bytes, ... back to their order."""
    grouped = np.frombuffer(data, np.uint8)
    out = np.empty(len(grouped), np.uint8)
    start = 0
    for k in range(4):
        stop = start + (len(grouped) - k + 3) // 4
        out[k::4] = grouped[start:stop]
        start = stop
    return out.data


def _check_footer(footer: bytes, root: bytes) -> None:
    """A footer only repeats what the chunks say, so it need only agree and be as long as it says."""
    if len(footer) > FOOTER_MAX or len(footer) < 44:
        raise CorruptFile(f"The xorb's footer is {len(footer):,} bytes long.")
    if footer[7] > 1:
        raise CorruptFile(f"The xorb's footer has version {footer[7]}; 0 and 1 are known.")
    if struct.unpack("<I", footer[-4:])[0] != len(footer) - 4:
        raise CorruptFile("The xorb's footer is not as long as it says.", hint="Send it again.")
    if footer[8:40] != root:
        raise CorruptFile("The xorb's footer names another hash than its chunks make.")


# --- shards


@dataclass(frozen=True)
class Segment:
    """`size` bytes of a file: the chunks [start, stop) of a xorb. proof is the range hash of those chunks."""

    xorb: bytes
    start: int
    stop: int
    size: int
    proof: bytes


@dataclass(frozen=True)
class ShardFile:
    """A file as its segments, in order. sha256 is in the usual hexadecimal."""

    hash: bytes
    sha256: str
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)


class Shard:
    """An uploaded shard: files made of xorbs, then the list of the xorbs that are new.

    The layout is checked here, every count against the length before anything is made from it; whether the
    xorbs exist and the hashes are true is for the caller. Raises CorruptFile.
    """

    def __init__(self, data: bytes | memoryview):
        self._data = memoryview(data)
        if len(data) > SHARD_MAX:
            raise CorruptFile(f"The shard is longer than {SHARD_MAX:,} bytes.")
        if len(data) < _RECORD or self._data[:32] != _SHARD_TAG:
            raise CorruptFile("This is no Xet shard: it does not begin with a shard's tag.")
        version = struct.unpack_from("<Q", self._data, 32)[0]
        if version != _SHARD_VERSION:
            raise CorruptFile(f"The shard has version {version}; {_SHARD_VERSION} is known.")
        self._files, at = self._walk(_RECORD, "file", _file_records)
        self._xorbs, _ = self._walk(at, "xorb", _xorb_records)

    def _walk(self, at: int, what: str, records: Callable[[int, int], int]) -> tuple[list[int], int]:
        """(positions of the headers of a section, the position after its bookend)"""
        found = []
        while True:
            if at + _RECORD > len(self._data):
                raise CorruptFile(f"The shard's list of {what}s has no end: it stops at byte {len(self._data):,}.")
            if self._data[at:at + 32] == _BOOKEND:
                return found, at + _RECORD
            flags, count = struct.unpack_from("<II", self._data, at + 32)
            stop = at + _RECORD * (1 + records(flags, count))
            if stop > len(self._data):
                raise CorruptFile(f"The {what} at byte {at:,} of the shard counts {count:,} entries, more than the "
                                  "shard has room for.")
            found.append(at)
            at = stop

    @property
    def file_count(self) -> int:
        return len(self._files)

    def files(self) -> Iterator[ShardFile]:
        """Each file. Raises BadInput for one without sha256 or proofs, which an upload must carry."""
        for at in self._files:
            yield self._file(at)

    def xorbs(self) -> Iterator[tuple[bytes, Chunks]]:
        """Each xorb listed, with its chunks as the sender describes them."""
        for at in self._xorbs:
            count = struct.unpack_from("<I", self._data, at + 36)[0]
            listed = np.frombuffer(self._data, _LISTED, count, at + _RECORD)
            yield bytes(self._data[at:at + 32]), Chunks(listed["hash"].tobytes(), listed["size"].copy())

    def _file(self, at: int) -> ShardFile:
        value = bytes(self._data[at:at + 32])
        flags, count = struct.unpack_from("<II", self._data, at + 32)
        if not (flags & _WITH_RANGES and flags & _WITH_SHA256):
            raise BadInput(f"File {hash_text(value)} in the shard comes without sha256 or range hashes.",
                           hint="Upload with huggingface_hub 1.20 or newer.")
        rows = np.frombuffer(self._data, _SEGMENT, count, at + _RECORD)
        proofs = at + _RECORD * (1 + count)
        end = proofs + _RECORD * count
        segments = tuple(
            Segment(row["xorb"].tobytes(), int(row["start"]), int(row["stop"]), int(row["bytes"]),
                    bytes(self._data[proofs + _RECORD * i:proofs + _RECORD * i + 32]))
            for i, row in enumerate(rows)
        )
        for segment in segments:
            if segment.start >= segment.stop:
                raise CorruptFile(f"File {hash_text(value)} in the shard takes chunks {segment.start} to "
                                  f"{segment.stop} of a xorb, which is none.")
        return ShardFile(value, hash_text(bytes(self._data[end:end + 32])), segments)


def _file_records(flags: int, count: int) -> int:
    return count * (2 if flags & _WITH_RANGES else 1) + (1 if flags & _WITH_SHA256 else 0)


def _xorb_records(flags: int, count: int) -> int:
    return count
