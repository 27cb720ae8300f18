"""The numbers of a model's tensors by rows, whatever each is packed as."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.weights import values
from headwater.weights.header import Tensor
from headwater.weights.packed.columns import Kept, PackedColumns
from headwater.weights.packed.parts import Packed
from headwater.weights.packed.rows import Of


class Numbers:
    """The numbers of any tensor, packed or not: the verbs of `values`, without the source. of: the source of one.
    Several threads may ask."""

    def __init__(self, of: Of):
        self._of, self._packed = of, dict[str, Packed]()
        self._kept = Kept()

    def know(self, packed: Mapping[str, Packed]) -> None:
        self._packed.update(packed)

    def rows(self, tensor: Tensor, start: int, stop: int) -> np.ndarray:
        known = self._find(tensor)
        if known is None:
            return values.rows(self._of(tensor), tensor, start, stop)
        return self._take(known, np.arange(start, min(stop, tensor.shape[0])), 0, tensor.shape[1])

    def gather(self, tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
        known = self._find(tensor)
        if known is None:
            return values.gather(self._of(tensor), tensor, numbers)
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < tensor.shape[0]:
            raise CorruptFile(f"row {int(numbers.max())} was asked of a tensor of {tensor.shape[0]} rows.")
        return self._take(known, numbers, 0, tensor.shape[1])

    def leading(self, tensor: Tensor, start: int, stop: int, width: int) -> np.ndarray:
        known = self._find(tensor)
        if known is None:
            return values.leading(self._of(tensor), tensor, start, stop, width)
        return self._take(known, np.arange(start, stop), 0, min(width, tensor.shape[1]))

    def part(self, tensor: Tensor, first: int, last: int, begin: int, end: int) -> np.ndarray:
        known = self._find(tensor)
        if known is None:
            return values.part(self._of(tensor), tensor, first, last, begin, end)
        return self._take(known, np.arange(first, min(last, tensor.shape[0])), begin, min(end, tensor.shape[1]))

    def apart(self, tensor: Tensor, numbers: np.ndarray, plain: np.ndarray) -> np.ndarray | None:
        """How far whole rows of another model lie from what is packed here, in halves of a step (PackedRows.apart);
        None where this tensor is not packed."""
        known = self._find(tensor)
        if known is None:
            return None
        packed, wanted = known[0], numbers.astype(np.int64) + known[1]
        with np.errstate(all="ignore"):
            found = packed.apart(self._of, wanted, plain, self._kept) if isinstance(packed, PackedColumns) \
                else packed.apart(self._of, wanted, plain)
        return np.nan_to_num(found, nan=np.inf)

    def _take(self, known: tuple[Packed, int], numbers: np.ndarray, begin: int, end: int) -> np.ndarray:
        packed, before = known
        wanted = numbers.astype(np.int64) + before
        with np.errstate(all="ignore"):
            if isinstance(packed, PackedColumns):
                return packed.take(self._of, wanted, begin, end, self._kept)
            return packed.take(self._of, wanted, begin, end)

    def _find(self, tensor: Tensor) -> tuple[Packed, int] | None:
        """How to read it, and before which row of its stack it begins: an expert is cut from one."""
        if not self._packed:
            return None
        if tensor.name in self._packed:
            return self._packed[tensor.name], 0
        name, _, expert = tensor.name.removesuffix("]").rpartition("[")
        known = self._packed.get(name) if expert.isdigit() else None
        return None if known is None else (known, int(expert) * tensor.shape[0])
