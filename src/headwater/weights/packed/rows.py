"""Matrices packed row by row: MLX, bitsandbytes, compressed-tensors, and 8-bit whole numbers with a scale for a row.

A number is `(table[code] - zero) * scale + bias`. Knows where codes and scales of chosen rows lie; finds no tensors.
Checked against each tool's own numbers in tests/weights/test_packed.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.weights import values
from headwater.weights.header import Tensor
from headwater.weights.packed.bits import UNIT, stored_rows, unpack
from headwater.weights.source import Source

Of = Callable[[Tensor], Source]


class Factors(Protocol):
    """Numbers beside codes: one for each group of a row, or one for each `group` numbers of the matrix."""

    def rows(self, of: Of, numbers: np.ndarray) -> np.ndarray:
        """float32 (len(numbers), groups of a row)."""

    def places(self, of: Of, wanted: np.ndarray) -> np.ndarray:
        """float32, as many as wanted: counted through the whole matrix."""


def finite(numbers: np.ndarray, name: str) -> np.ndarray:
    """The numbers; raises CorruptFile where one of them is none: of such a scale nothing can be told."""
    if not np.isfinite(numbers.sum(dtype=np.float64)) and not np.isfinite(numbers).all():
        raise CorruptFile(f"tensor {name[:80]!r} holds a scale that is no number.",
                          hint="The file is damaged: pack the model again.")
    return numbers


@dataclass(frozen=True)
class Plain:
    """Factors as a tensor holds them. tensor: (rows, groups)."""

    tensor: Tensor

    def rows(self, of: Of, numbers: np.ndarray) -> np.ndarray:
        alone = self.tensor.shape[0] == 1  # one row of factors for all
        found = values.gather(of(self.tensor), self.tensor, np.zeros(1, np.int64) if alone else numbers)
        return finite(found, self.tensor.name)

    def places(self, of: Of, wanted: np.ndarray) -> np.ndarray:
        flat = self.tensor._replace(shape=(self.tensor.elements, 1))
        return finite(values.gather(of(self.tensor), flat, wanted)[:, 0], self.tensor.name)


@dataclass(frozen=True)
class Nested:
    """bitsandbytes' doubly quantised scales: table[code] * absmax of its block + offset. codes: (rows, groups)."""

    codes: Tensor
    table: np.ndarray
    absmax: Tensor
    block: int
    offset: float

    def rows(self, of: Of, numbers: np.ndarray) -> np.ndarray:
        across = self.codes.shape[1]
        wanted = (numbers[:, None] * across + np.arange(across)).reshape(-1)
        return self.places(of, wanted).reshape(len(numbers), across)

    def places(self, of: Of, wanted: np.ndarray) -> np.ndarray:
        codes = values.gather(of(self.codes), self.codes._replace(shape=(self.codes.elements, 1)), wanted)[:, 0]
        blocks, back = np.unique(wanted // self.block, return_inverse=True)
        outer = Plain(self.absmax).places(of, blocks)[back]
        return self.table[codes.astype(np.uint8)] * outer + np.float32(self.offset)


@dataclass(frozen=True)
class PackedZeros:
    """compressed-tensors' zero points, packed down the rows: words (words of all rows, groups)."""

    words: Tensor
    bits: int

    def rows(self, of: Of, numbers: np.ndarray) -> np.ndarray:
        units, back = np.unique(numbers // UNIT, return_inverse=True)
        lines, groups = self.words.shape
        wanted = np.minimum(units[:, None] * self.bits + np.arange(self.bits), lines - 1)
        stored = stored_rows(of(self.words), self.words.start, 4 * groups, wanted.reshape(-1), 0, 4 * groups)
        words = stored.view("<u4").reshape(len(units), self.bits, groups).transpose(0, 2, 1)
        codes = unpack(np.ascontiguousarray(words).reshape(-1, self.bits).view(np.uint8), self.bits)
        codes = codes.reshape(len(units), groups, UNIT)[back, :, numbers % UNIT]
        return codes.astype(np.float32) - (1 << (self.bits - 1))

    def places(self, of: Of, wanted: np.ndarray) -> np.ndarray:
        groups = self.words.shape[1]
        lines, back = np.unique(wanted // groups, return_inverse=True)
        return self.rows(of, lines)[back, wanted % groups]


@dataclass(frozen=True)
class PackedRows:
    """tensor: the matrix as it is told, (…, rows, columns), its bytes those of the codes.

    group: neighbours in a row that share a scale; across_rows: groups run on from row to row. table: what a code
    stands for. order: the group of each column, where they are not neighbours (int32 in a tensor). near_zero: share of
    a scale below which a number is 0.
    """

    tensor: Tensor
    bits: int
    group: int
    table: np.ndarray
    scale: Factors
    zero: Factors | None = None
    bias: Factors | None = None
    high_first: bool = False
    across_rows: bool = False
    order: Tensor | None = None
    times: float = 1.0
    near_zero: float = 0.0

    def take(self, of: Of, numbers: np.ndarray, begin: int, end: int) -> np.ndarray:
        """float32 (len(numbers), end - begin): the numbers [begin, end) of chosen rows, counted through a stack."""
        found = self.table[self._codes(of, numbers, begin, end)]
        scale = self._spread(self.scale, of, numbers, begin, end)
        if self.zero is not None:
            found -= self._spread(self.zero, of, numbers, begin, end)
        found *= scale if self.times == 1 else scale * np.float32(self.times)
        if self.bias is not None:
            found += self._spread(self.bias, of, numbers, begin, end)
        if self.near_zero:
            found[np.abs(found) < np.abs(scale) * np.float32(self.near_zero)] = 0
        return found

    def apart(self, of: Of, numbers: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """float32, as plain, whole rows: how far each number lies from the one stored in its place, over how far it may
        for that to be the nearest: up to 1 where it was rounded to it."""
        width = self.tensor.shape[-1]
        codes = self._codes(of, numbers, 0, width)
        wanted = plain - self._spread(self.bias, of, numbers, 0, width) if self.bias is not None else plain
        wanted = wanted / (self._spread(self.scale, of, numbers, 0, width) * np.float32(self.times))
        if self.zero is not None:
            wanted = wanted + self._spread(self.zero, of, numbers, 0, width)
        table = self.table[:1 << self.bits]
        levels = np.unique(table[np.isfinite(table)])
        halves = np.concatenate([[np.inf], np.diff(levels) / 2, [np.inf]]).astype(np.float32)
        places = np.searchsorted(levels, np.nan_to_num(self.table))[codes]
        beyond = wanted - levels[np.minimum(places, len(levels) - 1)]
        return np.abs(beyond) / halves[np.minimum(places, len(levels) - 1) + (beyond > 0)]

    def _codes(self, of: Of, numbers: np.ndarray, begin: int, end: int) -> np.ndarray:
        rows, columns = self.tensor.elements // self.tensor.shape[-1], self.tensor.shape[-1]
        row_bytes, first = self.tensor.nbytes // rows, begin // UNIT * UNIT
        high = row_bytes if end >= columns else min(-(-end // UNIT) * UNIT * self.bits // 8, row_bytes)
        stored = stored_rows(of(self.tensor), self.tensor.start, row_bytes, numbers, first * self.bits // 8, high)
        return unpack(stored, self.bits, self.high_first)[:, begin - first:end - first]

    def _spread(self, factors: Factors, of: Of, numbers: np.ndarray, begin: int, end: int) -> np.ndarray:
        """float32 (len(numbers) or 1, end - begin or 1): a factor for each number."""
        if self.across_rows:
            wanted = (numbers[:, None] * self.tensor.shape[-1] + np.arange(begin, end)) // self.group
            unique, back = np.unique(wanted, return_inverse=True)
            return factors.places(of, unique)[back].reshape(wanted.shape)
        found = factors.rows(of, numbers)
        if found.shape[1] == 1:
            return found
        if self.order is not None:
            return found[:, group_numbers(of, self.order, begin, end, found.shape[1])]
        first = begin // self.group
        return np.repeat(found[:, first:-(-end // self.group)], self.group, axis=1)[
            :, begin - first * self.group:end - first * self.group]


def group_numbers(of: Of, order: Tensor, begin: int, end: int, groups: int) -> np.ndarray:
    """int64: the group of each of the columns [begin, end). Raises CorruptFile for one that is not there."""
    width = order.nbytes // max(order.elements, 1)
    data = of(order).read(order.start + begin * width, order.start + end * width)
    found = np.frombuffer(data, f"<i{width}").astype(np.int64)
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) < groups:
        raise CorruptFile(f"tensor {order.name[:80]!r} names groups from {int(found.min())} to "
                          f"{int(found.max())}; there are {groups}.",
                          hint="The file is damaged: pack the model again.")
    return found
