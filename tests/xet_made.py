"""Xorbs and shards made by hand, for tests: honest ones, and ones that lie on purpose."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

import lz4.frame
import numpy as np

from headwater.hub.xet_format import Chunks, chunk_hash, file_hash, hash_text, hash_value, range_hash, xorb_hash

TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
BOOKEND = b"\xff" * 32 + bytes(16)


def grouped4(data: bytes) -> bytes:
    return b"".join(data[k::4] for k in range(4))


def packed_chunk(data: bytes, scheme: int = 0, *, size: int | None = None, version: int = 0) -> bytes:
    """One chunk as it travels; `size` and `version` may lie."""
    body = (data, lz4.frame.compress(data), lz4.frame.compress(grouped4(data)))[scheme]
    header = bytes([version]) + len(body).to_bytes(3, "little") + bytes([scheme])
    return header + (len(data) if size is None else size).to_bytes(3, "little") + body


def chunks_of(pieces: list[bytes]) -> Chunks:
    return Chunks(b"".join(chunk_hash(piece) for piece in pieces), np.array([len(p) for p in pieces], np.uint32))


@dataclass(frozen=True)
class Xorb:
    pieces: tuple[bytes, ...] = field(repr=False)

    @property
    def chunks(self) -> Chunks:
        return chunks_of(list(self.pieces))

    @property
    def hash(self) -> bytes:
        return xorb_hash(self.chunks)

    @property
    def text(self) -> str:
        return hash_text(self.hash)

    def body(self, scheme: int = 1) -> bytes:
        return b"".join(packed_chunk(piece, scheme) for piece in self.pieces)


def xorb(*sizes: int, seed: int = 0) -> Xorb:
    rng = np.random.default_rng(seed)
    return Xorb(tuple(rng.bytes(size) for size in sizes))


@dataclass(frozen=True)
class File:
    """A file made of (xorb, first chunk, chunk after the last). Each field of its records may be replaced by a lie."""

    parts: tuple[tuple[Xorb, int, int], ...]
    lies: tuple[tuple[str, bytes | int], ...] = ()

    @property
    def data(self) -> bytes:
        return b"".join(b"".join(x.pieces[i:j]) for x, i, j in self.parts)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def records(self) -> bytes:
        lies = dict(self.lies)
        value = lies.get("hash", file_hash(x.chunks.part(i, j) for x, i, j in self.parts))
        out = struct.pack("<32sIIQ", value, lies.get("flags", 3 << 30), lies.get("count", len(self.parts)), 0)
        for x, i, j in self.parts:
            size = int(x.chunks.part(i, j).sizes.sum())
            out += struct.pack("<32sIIII", lies.get("xorb", x.hash), 0, lies.get("size", size), i, lies.get("stop", j))
        for x, i, j in self.parts:
            out += lies.get("proof", range_hash(x.chunks.part(i, j).hashes)) + bytes(16)
        return out + hash_value(lies.get("sha256", self.sha256)) + bytes(16)


def shard(files: list[File], xorbs: list[Xorb] = (), *, count: int | None = None) -> bytes:  # type: ignore[assignment]
    """An uploaded shard, without a footer. `count` lies about the entries of each xorb listed."""
    out = TAG + struct.pack("<QQ", 2, 0) + b"".join(file.records() for file in files) + BOOKEND
    for x in xorbs:
        chunks, at = x.chunks, 0
        total = int(chunks.sizes.sum())
        out += struct.pack("<32sIIII", x.hash, 0, len(chunks) if count is None else count, total, total)
        for i, size in enumerate(chunks.sizes):
            out += struct.pack("<32sIIQ", chunks.hashes[32 * i:32 * i + 32], at, size, 0)
            at += int(size)
    return out + BOOKEND
