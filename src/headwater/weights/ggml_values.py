"""Undo the quantisations most GGUF files have, several times faster than the `gguf` package and to the same bits.

Layouts: ggml/src/ggml-common.h; the arithmetic is that of gguf/quants.py, in the same order, so that both give the same
float32. The package works on 16 rows at a time with many small arrays; here a block of numbers stays in a core's cache
and is worked on in place. Forms that are not here are left to the package (weights/values.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 1 << 16
"""Numbers undone at once: a quarter of a megabyte of float32."""
_PAIR = np.dtype(np.complex128)
_LOW, _FOUR = np.uint64(0x0F0F_0F0F_0F0F_0F0F), np.uint64(4)


def undo(dtype: str, data: bytes | memoryview) -> np.ndarray | None:
    """All numbers of whole blocks as flat float32; None for a form that is not read here."""
    if dtype not in _FORMS:
        return None
    size, numbers, fill = _FORMS[dtype]
    stored = np.frombuffer(data, np.uint8).reshape(-1, size)
    found = np.empty((len(stored), numbers), np.float32)
    step = STEP // numbers
    for start in range(0, len(stored), step):
        fill(stored[start:start + step], found[start:start + step])
    return found.reshape(-1)


def _half(stored: np.ndarray, at: int, count: int = 1) -> np.ndarray:
    """float32 (n, count): the 16-bit floats from byte `at` on of every block."""
    return np.ascontiguousarray(stored[:, at:at + 2 * count]).view("<f2").astype(np.float32)


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """uint8 (n, 2, m) of (n, m) bytes: all low halves, then all high ones."""
    if packed.shape[1] != _PAIR.itemsize:
        found = np.empty((packed.shape[0], 2, packed.shape[1]), np.uint8)
        np.bitwise_and(packed, 15, out=found[:, 0])
        np.right_shift(packed, 4, out=found[:, 1])
        return found
    # Short runs of bytes cost numpy more than what is done to them: whole words, moved as one number of 16 bytes.
    words = np.ascontiguousarray(packed).view("<u8")
    pairs = np.empty((packed.shape[0], 2, 1), _PAIR)
    pairs[:, 0] = (words & _LOW).view(_PAIR)
    pairs[:, 1] = (words >> _FOUR & _LOW).view(_PAIR)
    return pairs.view(np.uint8)


def _scaled(whole: np.ndarray, scale: np.ndarray, found: np.ndarray) -> None:
    """Widened first: a product of two types goes through numpy's buffers, at twice the cost."""
    np.copyto(found, whole.reshape(found.shape))
    found *= scale


def _q4_0(stored: np.ndarray, found: np.ndarray) -> None:
    whole = _nibbles(stored[:, 2:]).view(np.int8)
    whole -= 8
    _scaled(whole, _half(stored, 0), found)


def _q4_1(stored: np.ndarray, found: np.ndarray) -> None:
    scale, least = _half(stored, 0, 2).T[:, :, None]
    _scaled(_nibbles(stored[:, 4:]), scale, found)
    found += least


def _q8_0(stored: np.ndarray, found: np.ndarray) -> None:
    _scaled(stored[:, 2:].view(np.int8), _half(stored, 0), found)


def _fifth_bits(stored: np.ndarray, at: int) -> np.ndarray:
    """uint8 (n, 32): 16 for every bit that is set in the four bytes at `at`."""
    return np.unpackbits(np.ascontiguousarray(stored[:, at:at + 4]), axis=1, bitorder="little") << np.uint8(4)


def _q5_0(stored: np.ndarray, found: np.ndarray) -> None:
    whole = (_nibbles(stored[:, 6:]).reshape(found.shape) | _fifth_bits(stored, 2)).view(np.int8)
    whole -= 16
    _scaled(whole, _half(stored, 0), found)


def _q5_1(stored: np.ndarray, found: np.ndarray) -> None:
    whole = _nibbles(stored[:, 8:]).reshape(found.shape) | _fifth_bits(stored, 4)
    _scaled(whole, _half(stored, 0), found)
    found += _half(stored, 2)


def _scales_and_minima(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 (n, 8, 1) twice: of Q4_K's and Q5_K's eight parts, 6 bits each in twelve bytes from byte 4."""
    low, high, rest = stored[:, 4:8], stored[:, 8:12], stored[:, 12:16]
    scales = np.concatenate([low & 63, (rest & 15) | (low >> 2 & 48)], axis=1)
    minima = np.concatenate([high & 63, (rest >> 4) | (high >> 2 & 48)], axis=1)
    return (_half(stored, 0) * scales.astype(np.float32))[:, :, None], \
        (_half(stored, 2) * minima.astype(np.float32))[:, :, None]


def _q4_k(stored: np.ndarray, found: np.ndarray) -> None:
    scales, minima = _scales_and_minima(stored)
    parts = found.reshape(-1, 8, 32)
    _scaled(_nibbles(stored[:, 16:].reshape(-1, 32)), scales, parts)
    parts -= minima


def _q5_k(stored: np.ndarray, found: np.ndarray) -> None:
    scales, minima = _scales_and_minima(stored)
    parts = found.reshape(-1, 8, 32)
    whole = _nibbles(stored[:, 48:].reshape(-1, 32)).reshape(parts.shape)
    high = stored[:, 16:48]
    for bit in range(8):
        whole[:, bit] |= (high >> bit & 1) << 4
    _scaled(whole, scales, parts)
    parts -= minima


def _q6_k(stored: np.ndarray, found: np.ndarray) -> None:
    whole = np.empty((len(stored), 2, 4, 32), np.uint8)
    low, high = stored[:, :128].reshape(-1, 2, 2, 32), stored[:, 128:192].reshape(-1, 2, 32)
    np.bitwise_and(low, 15, out=whole[:, :, :2])
    np.right_shift(low, 4, out=whole[:, :, 2:])
    for quarter in range(4):
        whole[:, :, quarter] |= (high >> (2 * quarter) & 3) << 4
    signed = whole.view(np.int8)
    signed -= 32
    scales = _half(stored, 208) * stored[:, 192:208].view(np.int8).astype(np.float32)
    _scaled(signed, scales[:, :, None], found.reshape(-1, 16, 16))


_FORMS: dict[str, tuple[int, int, Callable[[np.ndarray, np.ndarray], None]]] = {
    "Q4_0": (18, 32, _q4_0), "Q4_1": (20, 32, _q4_1), "Q5_0": (22, 32, _q5_0), "Q5_1": (24, 32, _q5_1),
    "Q8_0": (34, 32, _q8_0), "Q4_K": (144, 256, _q4_k), "Q5_K": (176, 256, _q5_k), "Q6_K": (210, 256, _q6_k)}
"""Bytes of a block, its numbers, and what fills float32 rows from blocks."""
