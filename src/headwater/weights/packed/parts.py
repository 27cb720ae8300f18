"""What the finders of packed matrices share: the tensors they look at, what they answer, and how they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.weights import values
from headwater.weights.header import Tensor
from headwater.weights.packed.columns import PackedColumns
from headwater.weights.packed.rows import Of, PackedRows

MIN_GROUP = 8
FLOATS = ("F32", "F16", "BF16")
Packed = PackedRows | PackedColumns


@dataclass(frozen=True)
class Found:
    """A matrix, and the names of the tensors that it is made of."""

    packed: Packed
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Files:
    """A model's tensors by name, the source of each, its config."""

    by_name: Mapping[str, Tensor]
    of: Of
    config: Mapping[str, Any]

    def get(self, name: str) -> Tensor | None:
        return self.by_name.get(name)

    def numbers(self, tensor: Tensor, most: int) -> np.ndarray:
        """float32, flat: all of a small tensor."""
        if tensor.elements > most:
            raise CorruptFile(f"tensor {tensor.name[:80]!r} has {tensor.elements} numbers; at most {most} belong "
                              "there.")
        return values.rows(self.of(tensor), tensor._replace(shape=(tensor.elements,))).reshape(-1)


def wrong(tensor: Tensor, form: str, what: str) -> CorruptFile:
    return CorruptFile(f"tensor {tensor.name[:80]!r} is packed as {form} packs, and {what}.",
                       hint="The file is damaged or of a form that is not read: pack the model again.")


def group_size(tensor: Tensor, form: str, columns: int, groups: int) -> int:
    """Columns that share a scale."""
    group = -(-columns // groups) if groups > 0 else 0
    if groups < 1 or (group < MIN_GROUP and groups > 1) or -(-columns // max(group, 1)) != groups:
        raise wrong(tensor, form, f"its {columns} columns do not make {groups} groups of {MIN_GROUP} or more")
    return group


def flat(tensor: Tensor) -> Tensor:
    """A stack's factors as (rows of all, groups)."""
    return tensor._replace(shape=(tensor.elements // tensor.shape[-1], tensor.shape[-1]))


@lru_cache(maxsize=1)
def signed8() -> np.ndarray:
    return np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)


@lru_cache(maxsize=4)
def codes_of(dtype: str) -> np.ndarray:
    """What each code stands for: 16 of F4, 256 of 8 bits. NaN has a code in 8 bits, and is left as it is."""
    if dtype == "F4":
        return values.decode("F4", bytes(range(16)), 16, 2)[:, 0].copy()
    return values.decode(dtype, bytes(range(256)), 1, 256)[0]
