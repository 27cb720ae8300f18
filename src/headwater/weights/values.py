"""Read the numbers of a tensor, a block of rows at a time, as float32. Memory is one block, whatever the model's size.

Knows every dtype of safetensors and every GGML quantisation the `gguf` package can undo; knows nothing of what a
tensor means.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.weights import ggml_values
from headwater.weights.header import Tensor
from headwater.weights.safetensors import BITS
from headwater.weights.source import MappedSource, Source, seen

BLOCK_BYTES = 8 << 20
"""Aim for the stored bytes of one block; its float32 form may be up to 16 times as much for 2-bit forms."""

BLOCK = 256
"""Every quantisation comes in blocks of this many numbers, or in ones that divide it."""

MAX_RUN = 256
"""Rows that one request may join."""
GAP_BYTES = 4 << 10
"""Rows nearer to one another than this are read in one go, unless the source says otherwise by its `gap_bytes`."""

_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1", "I16": "<i2", "U16": "<u2", "I32": "<i4",
          "U32": "<u4", "I64": "<i8", "U64": "<u8", "BOOL": "u1"}
_FLOAT8 = {"F8_E4M3": (4, 3, 7), "F8_E5M2": (5, 2, 15)}


def row_width(tensor: Tensor) -> int:
    """Elements of one row: all dimensions but the first. A vector is one row of all its elements."""
    if len(tensor.shape) < 2:
        return tensor.elements
    return tensor.elements // tensor.shape[0] if tensor.shape[0] else 0


def row_count(tensor: Tensor) -> int:
    return 1 if len(tensor.shape) < 2 else tensor.shape[0]


def rows(source: Source, tensor: Tensor, start: int = 0, stop: int | None = None) -> np.ndarray:
    """float32 (stop - start, row_width). Raises CorruptFile for a dtype whose numbers cannot be read."""
    stop = row_count(tensor) if stop is None else min(stop, row_count(tensor))
    width, row_bytes = row_width(tensor), _row_bytes(tensor)
    if stop <= start or not width:
        return np.zeros((max(stop - start, 0), width), np.float32)
    data = seen(source, tensor.start + start * row_bytes, tensor.start + stop * row_bytes)
    return decode(tensor.dtype, data, stop - start, width)


def gather(source: Source, tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """float32 (len(numbers), row_width): chosen rows, in the order asked. Neighbours are read together."""
    width, row_bytes = row_width(tensor), _row_bytes(tensor)
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < row_count(tensor):
        raise CorruptFile(f"row {int(numbers.max())} was asked of a tensor of {row_count(tensor)} rows.")
    if not len(numbers):
        return np.zeros((0, width), np.float32)
    rising = bool((numbers[1:] >= numbers[:-1]).all())
    order = None if rising else np.argsort(numbers, kind="stable")
    wanted = numbers if order is None else numbers[order]
    stored = np.empty((len(wanted), row_bytes), np.uint8)
    for at, stop in _runs(wanted, row_bytes, source):
        first, last = int(wanted[at]), int(wanted[stop - 1])
        data = seen(source, tensor.start + first * row_bytes, tensor.start + (last + 1) * row_bytes,
                    (stop - at) * row_bytes)
        block = np.frombuffer(data, np.uint8).reshape(-1, row_bytes)
        if order is None:
            np.take(block, wanted[at:stop] - first, axis=0, out=stored[at:stop], mode="clip")
        else:  # back to the order asked while it is still bytes
            stored[order[at:stop]] = block[wanted[at:stop] - first]
    return decode(tensor.dtype, stored.reshape(-1).data, len(wanted), width, kept=True)


def leading(source: Source, tensor: Tensor, start: int, stop: int, numbers: int) -> np.ndarray:
    """float32 (stop - start, numbers): the first numbers of rows that are read whole, in one go, and undone in part.
    `numbers` ends a block of the tensor's form (see BLOCK), or the row."""
    width, row_bytes = row_width(tensor), _row_bytes(tensor)
    if numbers >= width:
        return rows(source, tensor, start, stop)
    part_bytes = row_bytes * numbers // width
    data = seen(source, tensor.start + start * row_bytes, tensor.start + stop * row_bytes, (stop - start) * part_bytes)
    stored = np.frombuffer(data, np.uint8).reshape(stop - start, row_bytes)[:, :part_bytes]
    return decode(tensor.dtype, stored.copy().reshape(-1).data, stop - start, numbers, kept=True)


def part(source: Source, tensor: Tensor, first: int, last: int, begin: int, end: int) -> np.ndarray:
    """float32 (last - first, end - begin): rows and columns of a matrix, however long its rows are in the file."""
    width, row_bytes = row_width(tensor), _row_bytes(tensor)
    last, end = min(last, row_count(tensor)), min(end, width)
    if last <= first or end <= begin:
        return np.zeros((max(last - first, 0), max(end - begin, 0)), np.float32)
    if row_bytes <= GAP_BYTES:
        return leading(source, tensor, first, last, min(-(-end // BLOCK) * BLOCK, width))[:, begin:end]
    start, stop = begin // BLOCK * BLOCK, min(-(-end // BLOCK) * BLOCK, width)
    at = tensor.start + start * row_bytes // width
    length = stop * row_bytes // width - start * row_bytes // width
    data = b"".join(seen(source, at + row * row_bytes, at + row * row_bytes + length) for row in range(first, last))
    return decode(tensor.dtype, data, last - first, stop - start)[:, begin - start:end - start]


def _runs(wanted: np.ndarray, row_bytes: int, source: Source) -> Iterator[tuple[int, int]]:
    """Rising row numbers cut where one request ends: [start, stop) of each. A gap is read too while that costs less
    than another request; where nothing is copied, it costs nothing."""
    viewed = hasattr(source, "view")
    gap, most, rows_at_once = (MappedSource.WINDOW, MappedSource.WINDOW, len(wanted)) if viewed else (
        getattr(source, "gap_bytes", GAP_BYTES), BLOCK_BYTES, MAX_RUN)
    cuts = [0, *(np.flatnonzero(np.diff(wanted) * row_bytes > gap) + 1).tolist(), len(wanted)]
    most //= max(row_bytes, 1)
    for start, stop in pairwise(cuts):
        while start < stop:
            end = min(stop, start + rows_at_once)
            if end - start > 1:
                end = max(start + 1, start + int(np.searchsorted(wanted[start:end], wanted[start] + most)))
            yield start, end
            start = end


def blocks(source: Source, tensor: Tensor, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, rows) over the whole tensor, each block at most about `block_bytes` of the file."""
    step = max(1, block_bytes // max(_row_bytes(tensor), 1))
    for start in range(0, row_count(tensor), step):
        yield start, rows(source, tensor, start, start + step)


def decode(dtype: str, data: bytes | memoryview, count: int, width: int, kept: bool = False) -> np.ndarray:
    """The stored bytes of `count` rows as float32 (count, width). kept: they may become what is answered."""
    if dtype in _PLAIN:
        return np.frombuffer(data, _PLAIN[dtype]).astype(np.float32, copy=not kept).reshape(count, width)
    if dtype == "BF16":
        wide = np.frombuffer(data, "<u2").astype(np.uint32)
        np.left_shift(wide, 16, out=wide)
        return wide.view(np.float32).reshape(count, width)
    if dtype in _FLOAT8:
        return _float8_table(*_FLOAT8[dtype])[np.frombuffer(data, np.uint8)].reshape(count, width)
    if dtype == "F8_E8M0":  # powers of two; the highest code is no number (OCP Microscaling Formats 1.0, 5.4.1)
        codes = np.frombuffer(data, np.uint8).astype(np.int32)
        return np.where(codes == 255, np.nan, np.ldexp(np.float32(1), codes - 127)).astype(np.float32).reshape(
            count, width)
    if dtype == "F4":
        return _pairs_of_float4()[np.frombuffer(data, np.uint8)].reshape(count, width)
    return _ggml(dtype, data, count, width)


def readable(dtype: str) -> bool:
    """Whether decode() knows this dtype."""
    if dtype in _PLAIN or dtype in ("BF16", "F4", "F8_E8M0") or dtype in _FLOAT8:
        return True
    from gguf import GGMLQuantizationType
    from gguf.quants import _type_traits

    return dtype in GGMLQuantizationType.__members__ and GGMLQuantizationType[dtype] in _type_traits


def _row_bytes(tensor: Tensor) -> int:
    if tensor.dtype in BITS:
        return row_width(tensor) * BITS[tensor.dtype] // 8
    # A quantised row is a whole number of blocks, so rows divide the tensor's bytes evenly.
    return tensor.nbytes // row_count(tensor) if row_count(tensor) else 0


def _ggml(dtype: str, data: bytes | memoryview, count: int, width: int) -> np.ndarray:
    plain = ggml_values.undo(dtype, data)
    if plain is not None:
        return plain.reshape(count, width)
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    try:
        kind = GGMLQuantizationType[dtype]
        plain = dequantize(np.frombuffer(data, np.uint8).reshape(count, -1), kind)
    except (KeyError, NotImplementedError):
        raise CorruptFile(f"the numbers of dtype {dtype} cannot be read here.",
                          hint="Convert the model to another quantisation.") from None
    return np.asarray(plain, np.float32).reshape(count, width)


@lru_cache(maxsize=1)
def _pairs_of_float4() -> np.ndarray:
    """float32 (256, 2): the two E2M1 numbers of every byte, the low half first (OCP Microscaling Formats, 5.3.3)."""
    values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    values = np.concatenate([values, -values])
    codes = np.arange(256)
    return np.stack([values[codes & 15], values[codes >> 4]], axis=1)


@lru_cache(maxsize=4)
def _float8_table(exponent_bits: int, mantissa_bits: int, bias: int) -> np.ndarray:
    """All 256 values of an 8-bit float (OCP 8-bit floating point specification, 2023)."""
    codes = np.arange(256)
    exponent = codes >> mantissa_bits & (1 << exponent_bits) - 1
    mantissa = (codes & (1 << mantissa_bits) - 1) / (1 << mantissa_bits)
    value = np.where(exponent == 0, mantissa * 2.0 ** (1 - bias), (1 + mantissa) * 2.0 ** (exponent - float(bias)))
    top = (1 << exponent_bits) - 1
    if exponent_bits == 5:  # E5M2 keeps infinities and NaNs as IEEE does
        value = np.where(exponent == top, np.where(mantissa == 0, np.inf, np.nan), value)
    else:  # E4M3 has only one NaN
        value = np.where((codes & 0x7F) == 0x7F, np.nan, value)
    return np.where(codes & 0x80, -value, value).astype(np.float32)
