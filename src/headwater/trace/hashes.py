"""Marks of a tensor that hold only while nothing is disguised: a hash of a piece of it, signs of its raw rows, lattice.

The hash says that a tensor was left as it is (a frozen layer, a copy); it reads one piece, so it does not prove that
two whole tensors are equal: the file's sha256 does. Row signs keep what index-aligned rows have in common through
noise as large as the weights. The lattice says that numbers were once quantised, also after they were widened again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from headwater.weights.header import Tensor
from headwater.weights.source import Source

PIECE_BYTES = 16 << 10
PIECES_OF_A_TABLE = 4
TELLING_ELEMENTS = 256
TELLING_BYTES = 32
"""A piece with no more different bytes than this is a constant, a mask or a pattern."""
_FEW_BYTES = 256
ROW_COUNT = 16
ROW_SIGNS = 128
LATTICE_BLOCK = 32
LATTICE_VALUES = 16


def tensor_hash(source: Source, tensor: Tensor, pieces: int = 1) -> int:
    """64 bits of sha256 over the element count, the bytes' count and `pieces` even pieces of the data; the first is in
    the middle. The name, the dtype's spelling and the shape's order have no part in it. The lowest bit is 1 where two
    models would not have the same tensor by chance: norms of ones, zeros, masks and rotary tables have 0."""
    data = []
    if tensor.nbytes <= PIECE_BYTES * pieces:
        data.append(source.read(tensor.start, tensor.stop))
    else:
        for number in range(pieces):
            middle = tensor.nbytes * (2 * number + 1) // (2 * pieces) - PIECE_BYTES // 2
            start = tensor.start + min(max(middle, 0), tensor.nbytes - PIECE_BYTES) // 64 * 64
            data.append(source.read(start, start + PIECE_BYTES))
    digest = hashlib.sha256(f"{tensor.elements} {tensor.nbytes}".encode())
    for piece in data:
        digest.update(piece)
    # Of real weights a few bytes tell; only patterns are looked at in whole.
    telling = tensor.elements >= TELLING_ELEMENTS and any(
        len(set(part)) > TELLING_BYTES for part in (data[0][:_FEW_BYTES], data[0]))
    return int.from_bytes(digest.digest()[:8], "little") & ~1 | telling


def row_signs(rows: np.ndarray) -> np.ndarray:
    """uint8 (n, ROW_SIGNS / 8): which of the first ROW_SIGNS numbers of each row are above 0; 0 for those it lacks."""
    found = np.zeros((len(rows), ROW_SIGNS), bool)
    width = min(ROW_SIGNS, rows.shape[1])
    found[:, :width] = rows[:, :width] > 0
    return np.packbits(found, axis=1)


def probed_rows(count: int) -> np.ndarray:
    """Which rows of a matrix of `count` rows are signed: ROW_COUNT neighbours in the middle."""
    first = max(0, count // 2 - ROW_COUNT // 2)
    return np.arange(first, min(count, first + ROW_COUNT))


def lattice(rows: np.ndarray) -> float:
    """Share of whole blocks of 32 neighbours with at most 16 different values, in the rows' first 1,024 numbers."""
    return lattices([rows])[0]


def lattices(parts: Sequence[np.ndarray]) -> list[float]:
    """The lattice of each; of none of its blocks 0. Blocks of all are looked at together: one call of numpy's."""
    blocks = [part[:, :min(part.shape[1], 1024) // LATTICE_BLOCK * LATTICE_BLOCK].reshape(-1, LATTICE_BLOCK)
              for part in parts]
    ordered = np.sort(np.concatenate(blocks), axis=1)
    few = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(1) <= LATTICE_VALUES
    stops = np.cumsum([len(each) for each in blocks])
    return [float(few[stop - len(each):stop].mean()) if len(each) else 0.0
            for each, stop in zip(blocks, stops, strict=True)]
