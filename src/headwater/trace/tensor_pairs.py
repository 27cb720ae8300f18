"""Two tensors of one role side by side: how alike, of what rank the difference, and whether one is the other rounded.

Looks at rows evenly spread and at a square of the difference, so cost does not grow with the tensor. Compares number by
number: in a shuffled or rotated copy nothing corresponds, and the figures say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headwater.trace.hashes import lattice
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix

ROWS = 128
SQUARE = 256
_ENERGY = 0.99
WITHIN, SPREAD = 1.02, 0.4
"""Of half a step: scales were rounded themselves. Numbers rounded to steps lie .5 from them in the mean; numbers that
were moved from the steps and lie as far reach beyond 1 in one of twenty."""
_WRITTEN = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "F16", "BF16")
"""Forms that the gguf package writes bit for bit as llama.cpp does."""


@dataclass(frozen=True)
class TensorPair:
    """cosine: of the rows looked at. change: norm of the difference over a's norm. rank: how many singular values hold
    99 % of the difference's energy in a square of `rank_of` numbers a side; 0 if there is none. rederived: share of
    rows that come out bit for bit when the finer one is written in the other's form; None if that form is not written
    here, or both have one. lattice: share of blocks on few values, in a and in b. scale: b's norm over a's. nearest:
    where the coarser one is packed (weights/packed), the share of its numbers that are the finer one's, rounded to its
    steps; whether there are columns of which all are, and lie between the steps as numbers do that were not made of
    them; how far all lie from them in the mean, in halves of a step; and its bits. Else None."""

    role: str
    layer_a: int
    layer_b: int
    shape: tuple[int, int]
    dtype_a: str
    dtype_b: str
    cosine: float
    change: float
    rank: int
    rank_of: int
    rederived: float | None
    lattice: tuple[float, float]
    scale: float = 1.0
    nearest: tuple[float, bool, float, float] | None = None

    def flipped(self) -> TensorPair:
        """The same of b and a. Where b is all zeros the change has no measure, and stays."""
        change, scale = (self.change / self.scale, 1 / self.scale) if self.scale > 0 else (self.change, self.scale)
        return replace(self, layer_a=self.layer_b, layer_b=self.layer_a, dtype_a=self.dtype_b, dtype_b=self.dtype_a,
                       lattice=self.lattice[::-1], change=change, scale=scale)


def compare_tensors(role: str, layers: tuple[int, int], a: Reader, one: Matrix, b: Reader,
                    two: Matrix) -> TensorPair | None:
    """None for tensors of different shapes, which have no numbers that correspond."""
    if one.shape != two.shape:
        return None
    count = one.shape[0]
    numbers = np.unique(np.linspace(0, count - 1, min(ROWS, count)).astype(np.int64))
    first, second = (np.nan_to_num(reader.rows(matrix, numbers).astype(np.float64), posinf=0, neginf=0)
                     for reader, matrix in ((a, one), (b, two)))
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    cosine = float(np.vdot(first, second) / max(lengths[0] * lengths[1], 1e-30))
    delta = second - first
    rank, side = _rank(delta[:, :SQUARE])
    return TensorPair(role, *layers, one.shape, one.tensor.dtype, two.tensor.dtype, cosine,
                      float(np.linalg.norm(delta) / max(lengths[0], 1e-30)), rank, side,
                      _rederived(a, one, b, two, numbers), (lattice(first), lattice(second)),
                      float(lengths[1] / max(lengths[0], 1e-30)), _nearest(a, one, b, two, numbers))


def _rank(delta: np.ndarray) -> tuple[int, int]:
    values = np.linalg.svd(delta, compute_uv=False) ** 2
    if not values.sum() > 0:
        return 0, min(delta.shape)
    return int(np.searchsorted(np.cumsum(values) / values.sum(), _ENERGY) + 1), min(delta.shape)


def _rederived(a: Reader, one: Matrix, b: Reader, two: Matrix, numbers: np.ndarray) -> float | None:
    """Write the finer one's rows in the coarser one's form, and compare what they are read back as."""
    if one.tensor.dtype == two.tensor.dtype or one.columns or two.columns:
        return None
    coarse, coarse_at, fine, fine_at = (a, one, b, two) if bits(one) < bits(two) else (b, two, a, one)
    if coarse_at.tensor.dtype not in _WRITTEN:
        return None
    from gguf import GGMLQuantizationType
    from gguf.quants import QuantError, dequantize, quantize

    kind = GGMLQuantizationType[coarse_at.tensor.dtype]
    stored, plain = coarse.rows(coarse_at, numbers), fine.rows(fine_at, numbers)
    try:
        written = dequantize(quantize(np.ascontiguousarray(plain), kind), kind)
    except QuantError:
        return None
    return float((written == stored).all(axis=1).mean())


def _nearest(a: Reader, one: Matrix, b: Reader, two: Matrix,
             numbers: np.ndarray) -> tuple[float, bool, float, float] | None:
    if one.tensor.dtype == two.tensor.dtype or one.columns or two.columns:
        return None
    coarse, coarse_at, fine, fine_at = (a, one, b, two) if bits(one) < bits(two) else (b, two, a, one)
    apart = coarse.apart(coarse_at, numbers, fine.rows(fine_at, numbers))
    if apart is None:
        return None
    met, spread = apart <= WITHIN, np.minimum(apart, 2).mean(axis=0)
    between = bool((met.all(axis=0) & (spread >= SPREAD)).any())
    return float(met.mean()), between, float(spread.mean()), bits(coarse_at)


def bits(matrix: Matrix) -> float:
    return 8 * matrix.tensor.nbytes / max(matrix.tensor.elements, 1)
