"""A directory as one row's bytes, and back. Knows the layout; knows nothing of git or of the database.

Layout: length of the head as 4 bytes big-endian | head: JSON [names, sizes, flags] | oids, 20 bytes each |
digests, 32 bytes each, of the files alone. `flags` holds one letter an entry: d directory, f file, l LFS file.
Half the size of plain JSON with hex, and the digests can be read without the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from headwater.core.types import Digest, Entry, EntryKind, Oid, Tree

_FILE, _DIRECTORY = EntryKind.FILE, EntryKind.DIRECTORY


def pack(tree: Tree) -> bytes:
    """Raises ValueError if a file has no digest, or a directory has one."""
    flags = "".join("d" if e.kind is _DIRECTORY else "l" if e.lfs else "f" for e in tree.entries)
    for entry in tree.entries:
        if (entry.digest is None) is not (entry.kind is _DIRECTORY) or "/" in entry.path:
            raise ValueError(f"{entry.path!r} cannot stand in a tree: {entry}")
    head = json.dumps([[e.path for e in tree.entries], [e.size for e in tree.entries], flags],
                      ensure_ascii=False, separators=(",", ":")).encode()
    oids = bytes.fromhex("".join(e.oid for e in tree.entries))
    digests = bytes.fromhex("".join(e.digest for e in tree.entries if e.digest is not None))
    return b"".join((len(head).to_bytes(4, "big"), head, oids, digests))


def unpack(oid: Oid, body: bytes) -> Tree:
    names, sizes, flags, start = _head(body)
    oids = body[start:start + 20 * len(names)].hex()
    digests = _hex(body[start + 20 * len(names):].hex(), 64)
    return Tree(oid, tuple(
        Entry(name, _DIRECTORY, oids[i:i + 40]) if flag == "d"
        else Entry(name, _FILE, oids[i:i + 40], size, next(digests), flag == "l")
        for name, size, flag, i in zip(names, sizes, flags, range(0, 40 * len(names), 40), strict=True)
    ))


def points_to(body: bytes) -> tuple[list[Oid], list[Digest]]:
    """Directories and file bytes this directory names; cheaper than unpack, for walking whole histories."""
    names, _, flags, start = _head(body)
    middle = start + 20 * len(names)
    folders = [body[start + 20 * i:start + 20 * i + 20].hex() for i, flag in enumerate(flags) if flag == "d"]
    return folders, list(_hex(body[middle:].hex(), 64))


def _head(body: bytes) -> tuple[list[str], list[int], str, int]:
    start = 4 + int.from_bytes(body[:4], "big")
    names, sizes, flags = json.loads(body[4:start])
    return names, sizes, flags, start


def _hex(text: str, width: int) -> Iterator[str]:
    return (text[i:i + width] for i in range(0, len(text), width))
