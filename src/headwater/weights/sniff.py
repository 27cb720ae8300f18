"""What a file is by its first bytes, whatever it is called.

Says nothing of whether the rest holds together.
"""

from __future__ import annotations

HEAD_BYTES = 512
"""How many first bytes `kind_of` wants; fewer are fine if the file is shorter."""

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "a GGUF file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1f\x8b", "a gzip stream"),
    (b"\x28\xb5\x2f\xfd", "a zstd stream"),
    (b"\x04\x22\x4d\x18", "an LZ4 stream"),
    (b"\xfd7zXZ\x00", "an xz stream"),
    (b"BZh", "a bzip2 stream"),
    (b"\x5d\x00\x00", "an LZMA stream"),
    (b"\x78\x01", "a zlib stream"),
    (b"\x78\x5e", "a zlib stream"),
    (b"\x78\x9c", "a zlib stream"),
    (b"\x78\xda", "a zlib stream"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer"),
    (b"lmgg", "an old GGML file"),
    (b"fmgg", "an old GGML file"),
    (b"tjgg", "an old GGML file"),
)

COMPRESSED = frozenset({"a gzip stream", "a zlib stream", "an xz stream", "a bzip2 stream", "an LZMA stream"})
"""Kinds that hold one other file, and that the standard library can open."""


def kind_of(head: bytes) -> str | None:
    """A short noun phrase ("a zip archive"), or None when these bytes are nothing we know.

    A pickle of protocol 2 or later starts with the byte 0x80 and its protocol; older ones have no mark.
    """
    # First, because the length a safetensors file begins with may look like any short mark (640 is 80 02).
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "a safetensors file"
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return "a pickle"
    if head[257:262] == b"ustar":
        return "a tar archive"
    text = head.lstrip()[:64].lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith((b"{", b"[")):
        return "a JSON file"
    return None
