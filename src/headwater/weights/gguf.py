"""Headers of GGUF files, versions 2 and 3, by ggml/docs/gguf.md.

Reads the metadata and the tensor list, in windows of 1 MiB, and never tensor data. Bounds, whatever the file says:
MAX_HEADER bytes are walked; MAX_TEXT bytes of strings and MAX_ITEMS items of an array are kept (longer values
become a `Clip`); so memory stays under MAX_MEMORY.
Stricter than the `gguf` package in this: no arrays of arrays (llama.cpp refuses them too), no overlapping data.
"""

from __future__ import annotations

import struct
from typing import Any

from headwater.core.errors import CorruptFile
from headwater.weights import sniff
from headwater.weights.ggml_types import REMOVED_TENSOR_TYPES, TENSOR_TYPES
from headwater.weights.header import Clip, Header, Tensor
from headwater.weights.jsontext import shown
from headwater.weights.source import Source

MAX_HEADER = 128 << 20
MAX_STRINGS = 4_000_000
"""Items of all string arrays together; the largest vocabularies have 0.3 million tokens and as many merges."""
MAX_KEYS = 16_384
MAX_TENSORS = 100_000
MAX_DIMS = 5
"""llama.cpp writes at most 4; a film model (Wan) has a convolution of 5, and the readers of such files take it."""
MAX_KEY = 65_535
MAX_NAME = 1_024
MAX_NAMES = 16 << 20
"""Bytes of all keys and tensor names together."""
MAX_ITEMS = 64
MAX_TEXT = 8 << 20
CLIP_TEXT = 256
MAX_MEMORY = 200_000_000

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS: dict[int, struct.Struct] = {
    0: struct.Struct("<B"), 1: struct.Struct("<b"), 2: struct.Struct("<H"), 3: struct.Struct("<h"),
    4: struct.Struct("<I"), 5: struct.Struct("<i"), 6: struct.Struct("<f"), 7: struct.Struct("<B"),
    10: struct.Struct("<Q"), 11: struct.Struct("<q"), 12: struct.Struct("<d"),
}
_UINT32 = 4
_WORD = (1 << 64) - 1


def read_header(source: Source) -> Header:
    """Metadata and tensors, in the order the file lists them. Raises CorruptFile."""
    cursor = _Cursor(source)
    version = _version(cursor, source)
    tensor_count, key_count = cursor.u64("the tensor count"), cursor.u64("the metadata count")
    _check_count("tensors", tensor_count, MAX_TENSORS, 24, source.size, 8)
    _check_count("metadata entries", key_count, MAX_KEYS, 13, source.size, 16)
    metadata, alignment = _metadata(cursor, key_count)
    listed = [_tensor_info(cursor) for _ in range(tensor_count)]
    data_start = cursor.at + -cursor.at % alignment
    tensors = _place(listed, data_start, alignment, source.size)
    return Header("gguf", metadata, tensors, data_start=data_start, version=version)


class _Cursor:
    """A place in the file that moves forward, reading ahead in windows."""

    WINDOW = 1 << 20

    def __init__(self, source: Source):
        self.source = source
        self.at = 0
        self.end = min(source.size, MAX_HEADER)
        self._base, self._window = 0, b""
        self._names_left = MAX_NAMES

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes; the caller has bounded `count`."""
        self.need(count, what)
        offset = self.at - self._base
        if offset + count > len(self._window):
            stop = min(self.end, self.at + max(count, self.WINDOW))
            self._base, self._window, offset = self.at, self.source.read(self.at, stop), 0
        self.at += count
        return self._window[offset:offset + count]

    def need(self, count: int, what: str) -> None:
        """Raise unless `count` more bytes can be part of the header."""
        if count <= self.end - self.at:
            return
        if self.at + count > self.source.size:
            raise CorruptFile(f"the GGUF header is cut short: {what} at byte {self.at} takes {count} bytes, "
                              f"and {self.source.size - self.at} are left.")
        raise CorruptFile(f"the GGUF header is too large: {what} at byte {self.at} takes {count} bytes, "
                          f"and only the first {MAX_HEADER} bytes of a file are read as header.")

    def skip(self, count: int, what: str) -> None:
        self.need(count, what)
        self.at += count
        if self.at - self._base > len(self._window):
            self._base, self._window = self.at, b""

    def skip_strings(self, most: int) -> int:
        """Step over the strings that end inside the window, at most so many; how many they were."""
        from headwater.weights.string_walk import walk

        _, stops = walk(self._window, self.at - self._base, most)
        if len(stops):
            self.at = self._base + int(stops[-1])
        return len(stops)

    def scalar(self, kind: int, what: str) -> Any:
        packer = _SCALARS[kind]
        value = packer.unpack(self.take(packer.size, what))[0]
        if kind != _BOOL:
            return value
        if value > 1:
            raise CorruptFile(f"{what} at byte {self.at - 1} is {value}; a true-or-false value is 0 or 1.")
        return bool(value)

    def u32(self, what: str) -> int:
        return self.scalar(4, what)

    def u64(self, what: str) -> int:
        return self.scalar(10, what)

    def name(self, limit: int, what: str) -> str:
        """A key or a name, which may not be longer than `limit` bytes."""
        at, length = self.at, self.u64(f"the length of {what}")
        if length > limit:
            raise CorruptFile(f"{what} at byte {at} is {length} bytes long; at most {limit} are allowed.")
        self._names_left -= length
        if self._names_left < 0:
            raise CorruptFile(f"the names in this GGUF header pass {MAX_NAMES} bytes at byte {at}; no more are read.")
        start = self.at
        return _utf8(self.take(length, what), what, start)


def _version(cursor: _Cursor, source: Source) -> int:
    head = source.read(0, min(source.size, sniff.HEAD_BYTES))
    if head[:4] != b"GGUF":
        kind = sniff.kind_of(head)
        like = f" It starts like {kind}." if kind else ""
        hint = "Push the file itself: run `git lfs pull` first." if kind == "a Git LFS pointer" else None
        raise CorruptFile(f"not a GGUF file: it starts with {head[:4].hex(' ') or 'nothing'}, "
                          f"and 47 47 55 46 (\"GGUF\") was expected.{like}", hint=hint)
    cursor.skip(4, "the magic")
    version = cursor.u32("the version")
    if version in (2, 3):
        return version
    if version and version & 0xFFFF == 0:
        raise CorruptFile("this GGUF file is written for big-endian machines (its version is byte-swapped at byte 4).",
                          hint="Convert it with gguf's gguf-convert-endian, then push it again.")
    raise CorruptFile(f"GGUF version {version} at byte 4 is not known; versions 2 and 3 are read.",
                      hint="Convert version 1 with a llama.cpp of 2023." if version == 1 else None)


def _check_count(what: str, count: int, limit: int, smallest: int, size: int, byte: int) -> None:
    """A count is believed only if so many of the smallest would fit in the file."""
    if count * smallest > size:
        raise CorruptFile(f"impossible count: byte {byte} says {count} {what}, "
                          f"and a file of {size} bytes has room for at most {size // smallest}.")
    if count > limit:
        raise CorruptFile(f"byte {byte} says {count} {what}; at most {limit} are read.")


def _metadata(cursor: _Cursor, count: int) -> tuple[dict[str, Any], int]:
    """The entries, and the alignment of tensor data they set."""
    entries: dict[str, Any] = {}
    budget = _Budget()
    alignment = 32
    for _ in range(count):
        at = cursor.at
        key = cursor.name(MAX_KEY, "a metadata key")
        kind = cursor.u32(f"the type of {shown(key)}")
        if key in entries:
            raise CorruptFile(f"metadata key {shown(key)} stands twice; the second is at byte {at}.")
        entries[key] = _value(cursor, kind, f"metadata {shown(key)}", budget)
        if key == "general.alignment":
            alignment = _alignment(kind, entries[key])
    return entries, alignment


class _Budget:
    """What may still be kept of strings, and walked of string arrays."""

    def __init__(self) -> None:
        self.text, self.strings = MAX_TEXT, MAX_STRINGS


def _alignment(kind: int, value: Any) -> int:
    if kind != _UINT32 or value == 0 or value & (value - 1):
        raise CorruptFile(f"general.alignment is {shown(value)}; a power of two of type uint32 was expected.")
    return value


def _value(cursor: _Cursor, kind: int, what: str, budget: _Budget) -> Any:
    if kind in _SCALARS:
        return cursor.scalar(kind, what)
    if kind == _STRING:
        return _string(cursor, what, budget)
    if kind == _ARRAY:
        return _array(cursor, what, budget)
    raise CorruptFile(f"{what} has the unknown type {kind} at byte {cursor.at - 4}; types are 0 to 12.")


def _string(cursor: _Cursor, what: str, budget: _Budget) -> str | Clip:
    length = cursor.u64(f"the length of {what}")
    cursor.need(length, what)
    start = cursor.at
    if length <= budget.text:
        budget.text -= length
        return _utf8(cursor.take(length, what), what, start)
    kept = cursor.take(min(length, CLIP_TEXT), what)
    cursor.skip(length - len(kept), what)
    return Clip(kept.decode("utf-8", "replace"), length)


def _array(cursor: _Cursor, what: str, budget: _Budget) -> tuple[Any, ...] | Clip:
    kind, count = cursor.u32(f"the item type of {what}"), cursor.u64(f"the length of {what}")
    if kind in _SCALARS:
        size = _SCALARS[kind].size
        cursor.need(count * size, what)
        first = tuple(cursor.scalar(kind, what) for _ in range(min(count, MAX_ITEMS)))
        cursor.skip((count - len(first)) * size, what)
    elif kind == _STRING:
        cursor.need(count * 8, what)
        first = _strings(cursor, count, what, budget)
    elif kind == _ARRAY:
        raise CorruptFile(f"{what} at byte {cursor.at - 12} is an array of arrays, which no engine reads.")
    else:
        raise CorruptFile(f"{what} has items of the unknown type {kind} at byte {cursor.at - 12}; types are 0 to 12.")
    return Clip(first, count) if count > len(first) else first


def _strings(cursor: _Cursor, count: int, what: str, budget: _Budget) -> tuple[str, ...]:
    """The first items of an array of strings; the others are stepped over.

    Tokens may be pieces of a character, so bytes that are not UTF-8 become U+FFFD here and are no error.
    """
    budget.strings -= count
    if budget.strings < 0:
        raise CorruptFile(f"{what} brings the strings of this file past {MAX_STRINGS}; no more are read.")
    first: list[str] = []
    for _ in range(min(count, MAX_ITEMS)):
        length = int.from_bytes(cursor.take(8, what), "little")
        if length <= budget.text:
            budget.text -= length
            first.append(cursor.take(length, what).decode("utf-8", "replace") if length else "")
        else:
            kept = cursor.take(min(length, CLIP_TEXT), what)
            cursor.skip(length - len(kept), what)
            first.append(kept.decode("utf-8", "replace"))
    left = count - len(first)
    while left:
        left -= cursor.skip_strings(left)
        if left:  # one that does not end inside the window
            cursor.skip(int.from_bytes(cursor.take(8, what), "little"), what)
            left -= 1
    return tuple(first)


def _utf8(data: bytes, what: str, start: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{what} is not UTF-8: byte {start + error.start} is 0x{data[error.start]:02x}.") from None


def _tensor_info(cursor: _Cursor) -> Tensor:
    """One entry of the tensor list; `start` and `stop` still count from the start of the data."""
    name = cursor.name(MAX_NAME, "a tensor name")
    said = shown(name)
    rank = cursor.u32(f"the rank of tensor {said}")
    if rank > MAX_DIMS:
        raise CorruptFile(f"tensor {said} has impossible dimensions: byte {cursor.at - 4} says {rank} of them, "
                          f"and at most {MAX_DIMS} are known.")
    dims = [cursor.u64(f"the shape of tensor {said}") for _ in range(rank)]
    number = cursor.u32(f"the type of tensor {said}")
    if number not in TENSOR_TYPES:
        removed = REMOVED_TENSOR_TYPES.get(number)
        also = f" ({removed}, removed from the format)" if removed else ""
        raise CorruptFile(f"tensor {said} has the unknown type {number}{also} at byte {cursor.at - 4}.")
    dtype, block, block_bytes = TENSOR_TYPES[number]
    elements = 1
    for dimension in dims:
        elements *= dimension
        if elements > _WORD:
            raise CorruptFile(f"tensor {said} has impossible dimensions: {dims} is more than 2^64 elements.")
    if (dims[0] if dims else 1) % block:
        raise CorruptFile(f"tensor {said} has impossible dimensions: {dtype} comes in blocks of {block}, "
                          f"and its rows have {dims[0] if dims else 1} elements.")
    offset = cursor.u64(f"the offset of tensor {said}")
    return Tensor(name, dtype, tuple(reversed(dims)), offset, offset + elements // block * block_bytes)


def _place(listed: list[Tensor], data_start: int, alignment: int, size: int) -> tuple[Tensor, ...]:
    """The same tensors with offsets from the start of the file, once none overlaps or runs out of it."""
    names: set[str] = set()
    for tensor in listed:
        if tensor.name in names:
            raise CorruptFile(f"two tensors are named {shown(tensor.name)}.")
        names.add(tensor.name)
        if tensor.start % alignment:
            raise CorruptFile(f"tensor {shown(tensor.name)} starts {tensor.start} bytes into the data, "
                              f"which is no multiple of the alignment {alignment}.")
        if data_start + tensor.stop > size:
            raise CorruptFile(f"tensor {shown(tensor.name)} reaches past the end: its data end at byte "
                              f"{data_start + tensor.stop}, and the file has {size}.",
                              hint=f"At least {data_start + tensor.stop - size} bytes are missing.")
    before: Tensor | None = None
    for tensor in sorted(listed, key=lambda t: (t.start, t.stop)):
        if before is not None and tensor.start < before.stop:
            raise CorruptFile(f"tensors {shown(before.name)} and {shown(tensor.name)} overlap at byte "
                              f"{data_start + tensor.start}.")
        before = tensor
    return tuple(t._replace(start=data_start + t.start, stop=data_start + t.stop) for t in listed)
