"""Numbers of a model as the difference to its parent's: one block of bytes at a time. Knows no files.

A float's bits, turned so that their order as whole numbers is the order of the floats, are a scale on which training
moves a weight by a few steps. The difference of two such numbers is folded (0, -1, 1, -2, 2 become 0, 1, 2, 3, 4), so
that small steps of either sign have a high byte of 0, and the bytes of each rank are packed together by zstd.
docs/design/021-descent-storage.md has what was measured.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import lru_cache
from threading import local
from typing import Any, NamedTuple

import numpy as np

LEVEL = 1
"""Of zstd. What is left is noise: on it level 3 packs worse than 1 and level 9 no better, and both take longer."""
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32}
_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32}
_HERE = local()


class Form(NamedTuple):
    """How numbers stand in the bytes: `width` of each, and whether the first bit is a float's sign."""

    width: int
    floating: bool


FORMS = (Form(1, False), Form(2, True), Form(4, True), Form(1, True))
"""By number, as files keep it: never reorder."""
BYTES, HALF, SINGLE, EIGHTH = range(4)
_FORM_OF = {"F16": HALF, "BF16": HALF, "F32": SINGLE, "F8_E4M3": EIGHTH, "F8_E5M2": EIGHTH}


class Kind(IntEnum):
    """How a block is packed: as it is, its own bytes, or the difference."""

    RAW = 0
    OWN = 1
    DIFFERENCE = 2


def form_of(dtype: str) -> int:
    """The form for a tensor's dtype, as safetensors and GGUF name them."""
    return _FORM_OF.get(dtype, BYTES)


def pack_block(child: bytes, base: bytes | None, form: int) -> tuple[Kind, bytes]:
    """The smallest of the three ways. base: as many bytes as child, or None. Both a multiple of the form's width."""
    kind, packed = Kind.RAW, child
    if base is not None:
        kind, packed = Kind.DIFFERENCE, _pack_planes(_difference(child, base, FORMS[form]))
    if len(packed) > 0.6 * len(child):  # else the bytes alone would hardly be smaller, and trying costs as much
        own = _pack_planes(np.frombuffer(child, _UNSIGNED[FORMS[form].width]))
        if len(own) < len(packed):
            kind, packed = Kind.OWN, own
    return (kind, packed) if len(packed) < len(child) else (Kind.RAW, child)


def unpack_block(kind: int, packed: bytes, base: bytes | None, form: int, size: int) -> bytes:
    """Raises ValueError if the bytes are not such a block."""
    if kind == Kind.RAW:
        return packed
    width = FORMS[form].width
    numbers = _unpack_planes(packed, width, size // width)
    if kind == Kind.OWN:
        return numbers.tobytes()
    if base is None or len(base) != size:
        raise ValueError("the base of a difference is missing")
    return _sum(numbers, base, FORMS[form])


def _difference(child: bytes, base: bytes, form: Form) -> np.ndarray:
    steps = _ordered(child, form)
    np.subtract(steps, _ordered(base, form), out=steps)
    signed = steps.view(_SIGNED[form.width])
    sign = signed >> (form.width * 8 - 1)
    np.left_shift(steps, 1, out=steps)
    np.bitwise_xor(signed, sign, out=signed)
    return steps


def _sum(folded: np.ndarray, base: bytes, form: Form) -> bytes:
    kind, signed = _UNSIGNED[form.width], _SIGNED[form.width]
    sign = np.negative((folded & kind(1)).view(signed))
    steps = folded >> kind(1)
    np.bitwise_xor(steps, sign.view(kind), out=steps)
    np.add(steps, _ordered(base, form), out=steps)
    return _unordered(steps, form).tobytes()


def _ordered(data: bytes, form: Form) -> np.ndarray:
    """Whole numbers in the floats' order: all bits of the negative turned, of the others the first."""
    numbers = np.frombuffer(data, _UNSIGNED[form.width])
    if not form.floating:
        return numbers.copy()
    signed = numbers.view(_SIGNED[form.width])
    mask = signed >> (form.width * 8 - 1)
    mask = mask.view(_UNSIGNED[form.width])
    np.bitwise_or(mask, _first_bit(form), out=mask)
    return np.bitwise_xor(numbers, mask, out=mask)


def _unordered(numbers: np.ndarray, form: Form) -> np.ndarray:
    if not form.floating:
        return numbers
    mask = numbers.view(_SIGNED[form.width]) >> (form.width * 8 - 1)
    mask = np.bitwise_not(mask).view(_UNSIGNED[form.width])
    np.bitwise_or(mask, _first_bit(form), out=mask)
    return np.bitwise_xor(numbers, mask, out=mask)


@lru_cache
def _first_bit(form: Form) -> np.generic:
    return _UNSIGNED[form.width](1 << (form.width * 8 - 1))


def _pack_planes(numbers: np.ndarray) -> bytes:
    """Lengths of the planes, each 4 bytes, then each plane as zstd packs it; the lowest bytes first."""
    compress = _zstd()[0].compress
    planes = numbers.view(np.uint8).reshape(len(numbers), -1).T
    packed = [compress(np.ascontiguousarray(plane)) for plane in planes]
    return struct.pack(f"<{len(packed)}I", *map(len, packed)) + b"".join(packed)


def _unpack_planes(packed: bytes, width: int, count: int) -> np.ndarray:
    import zstandard

    if len(packed) < 4 * width:
        raise ValueError("a block is cut short")
    whole, at = np.empty((count, width), np.uint8), 4 * width
    for n, length in enumerate(struct.unpack_from(f"<{width}I", packed)):
        try:
            plane = _zstd()[1].decompress(packed[at:at + length], max_output_size=count)
        except zstandard.ZstdError as error:
            raise ValueError(f"a block cannot be unpacked: {error}") from None
        if len(plane) != count:
            raise ValueError("a block unpacks to another size")
        whole[:, n] = np.frombuffer(plane, np.uint8)
        at += length
    return whole.reshape(-1).view(_UNSIGNED[width])


def _zstd() -> tuple[Any, Any]:
    """(compressor, decompressor) of this thread: neither may be shared."""
    if not hasattr(_HERE, "pair"):
        import zstandard

        _HERE.pair = zstandard.ZstdCompressor(level=LEVEL), zstandard.ZstdDecompressor()
    return _HERE.pair
