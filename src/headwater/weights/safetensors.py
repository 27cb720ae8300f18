"""Headers of safetensors files, by the format's own text (huggingface/safetensors, README, "Format").

8 bytes of little-endian length N, N bytes of JSON, then tensor data that cover the rest without hole or overlap.
Reads 8 + N bytes and never more. Memory: jsontext.MAX_MEMORY at the largest N accepted (25 MB), about six times N
for a header of the usual kind. Stricter than the `safetensors` package in this: a name twice is refused.
"""

from __future__ import annotations

from typing import Any

from headwater.core.errors import CorruptFile
from headwater.weights import jsontext, sniff
from headwater.weights.header import Header, Tensor
from headwater.weights.jsontext import shown
from headwater.weights.source import Source

BITS: dict[str, int] = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
    "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}
"""Bits of one element."""
_FIELDS = ("dtype", "shape", "data_offsets")
_WORD = (1 << 64) - 1


def read_header(source: Source) -> Header:
    """Metadata and tensors, in the order of their data. Raises CorruptFile."""
    length = _length(source)
    raw = jsontext.parse(source.read(8, 8 + length), "the safetensors header", offset=8)
    if not isinstance(raw, dict):
        raise CorruptFile(f"the safetensors header is a JSON {type(raw).__name__}; an object was expected at byte 8.")
    metadata = _metadata(raw.pop("__metadata__", None))
    start = 8 + length
    tensors = sorted((_tensor(name, entry, start) for name, entry in raw.items()), key=lambda t: (t.start, t.stop))
    _check_cover(tensors, start, source.size)
    return Header("safetensors", metadata, tuple(tensors), data_start=start)


def _length(source: Source) -> int:
    """N, once it is known that a header can stand there."""
    size = source.size
    head = source.read(0, min(size, sniff.HEAD_BYTES))
    kind = sniff.kind_of(head)
    if kind not in (None, "a safetensors file"):
        raise CorruptFile(f"not a safetensors file: it starts like {kind}.", hint=_hint(kind))
    if size < 8:
        raise CorruptFile(f"not a safetensors file: it has {size} bytes, and the first 8 hold the header's length.")
    length = int.from_bytes(head[:8], "little")
    if length > size - 8:
        raise CorruptFile(f"the safetensors header is longer than its file: bytes 0 to 7 say {length} bytes, "
                          f"and {size - 8} follow.", hint="The file is cut short, or is no safetensors file.")
    if length > jsontext.MAX_BYTES:
        raise CorruptFile(f"the safetensors header is too large: bytes 0 to 7 say {length} bytes, "
                          f"and at most {jsontext.MAX_BYTES} are read.")
    if not head[8:9] or head[8] not in b"{ \t\r\n" or length < 2:
        found = f"0x{head[8]:02x}" if length and len(head) > 8 else "missing"
        raise CorruptFile(f"not a safetensors file: byte 8 is {found}, and a header opens there with '{{'.")
    return length


def _hint(kind: str) -> str | None:
    if kind == "a Git LFS pointer":
        return "Push the file itself: run `git lfs pull` first."
    return None


def _metadata(raw: Any) -> dict[str, str]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise CorruptFile(f"__metadata__ is a JSON {type(raw).__name__}; an object of strings was expected.")
    for key, value in raw.items():
        if not isinstance(value, str):
            raise CorruptFile(f"__metadata__ {shown(key)} is a JSON {type(value).__name__}; a string was expected.")
        _encodable(key)
        _encodable(value)
    return raw


def _tensor(name: str, entry: Any, data_start: int) -> Tensor:
    _encodable(name)
    if not isinstance(entry, dict):
        raise CorruptFile(f"tensor {shown(name)} is a JSON {type(entry).__name__}; an object was expected.")
    for field in _FIELDS:
        if field not in entry:
            raise CorruptFile(f"tensor {shown(name)} has no field {field!r}.")
    dtype, shape = entry["dtype"], _numbers(name, "shape", entry["shape"])
    offsets = _numbers(name, "data_offsets", entry["data_offsets"])
    if not isinstance(dtype, str) or dtype not in BITS:
        raise CorruptFile(f"tensor {shown(name)} has the unknown dtype {shown(dtype)}.",
                          hint=f"There are: {', '.join(BITS)}.")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CorruptFile(f"tensor {shown(name)} has data_offsets {list(offsets[:4])}; "
                          "a begin and an end were expected.")
    expected, given = _nbytes(name, dtype, shape), offsets[1] - offsets[0]
    if expected != given:
        raise CorruptFile(f"tensor {shown(name)} of {dtype} {list(shape[:8])} takes {expected} bytes, "
                          f"and its data_offsets give it {given}.")
    return Tensor(name, dtype, shape, data_start + offsets[0], data_start + offsets[1])


def _numbers(name: str, field: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(n) is not int or not 0 <= n <= _WORD for n in value):
        raise CorruptFile(f"tensor {shown(name)}: {field} is not a list of whole numbers from 0 to 2^64-1.")
    return tuple(value)


def _nbytes(name: str, dtype: str, shape: tuple[int, ...]) -> int:
    elements = 1
    for dimension in (*shape, BITS[dtype]):
        elements *= dimension
        if elements > _WORD:
            raise CorruptFile(f"tensor {shown(name)} has impossible dimensions: {dtype} {list(shape[:8])} "
                              "takes more than 2^64 bits.")
    if elements % 8:
        raise CorruptFile(f"tensor {shown(name)} of {dtype} {list(shape[:8])} does not end at a byte.")
    return elements // 8


def _check_cover(tensors: list[Tensor], start: int, size: int) -> None:
    """Data lie one after another from `start` to the end of the file."""
    at, before = start, None
    for tensor in tensors:
        if tensor.stop > size:
            raise CorruptFile(f"tensor {shown(tensor.name)} reaches past the end: its data end at byte {tensor.stop}, "
                              f"and the file has {size}.", hint=f"At least {tensor.stop - size} bytes are missing.")
        if tensor.start < at:
            raise CorruptFile(f"tensors {shown(before)} and {shown(tensor.name)} overlap: the first ends at byte {at}, "
                              f"the second starts at byte {tensor.start}.")
        if tensor.start > at:
            raise CorruptFile(f"bytes {at} to {tensor.start} belong to no tensor: "
                              f"{shown(tensor.name)} was expected to start at byte {at}.")
        at, before = tensor.stop, tensor.name
    if at != size:
        raise CorruptFile(f"the last tensor ends at byte {at}, and the file has {size}: {size - at} bytes too many.")


def _encodable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CorruptFile(f"the safetensors header holds {shown(text)}, half of a surrogate pair.") from None
