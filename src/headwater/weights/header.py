"""What a model file says of itself, in one shape for every format.

Knows no format: `safetensors.py`, `gguf.py`, `onnx.py` and `torch_zip.py` make these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


class Tensor(NamedTuple):
    """One tensor. Its data are the bytes [start, stop) of the file, counted from the file's first byte.

    shape: outermost dimension first, as torch and numpy print it (a GGUF file stores it the other way round).
    file: the repo path of the shard that holds it, where a header was merged from shards; else None.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    file: str | None = None

    @property
    def elements(self) -> int:
        count = 1
        for dimension in self.shape:
            count *= dimension
        return count

    @property
    def nbytes(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Clip:
    """A metadata value too long to keep: its first items (or characters), and how many it has in the file.

    first: a tuple for an array, a str for a string. length: items of the array, bytes of the string.
    """

    first: tuple[Any, ...] | str
    length: int


@dataclass(frozen=True)
class Header:
    """A file's metadata and tensors. version: the GGUF version, else None.

    data_start: the byte where tensor data begin; None where the header was merged from shards.
    metadata: for safetensors a dict of strings; for GGUF typed values, long ones as `Clip`.
    """

    format: Literal["safetensors", "gguf", "onnx", "torch"]
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    data_start: int | None = None
    version: int | None = None

    @property
    def parameters(self) -> dict[str, int]:
        """Elements by dtype, in the order dtypes first appear."""
        return _sum_by_dtype(self.tensors, "elements")

    @property
    def bytes_by_dtype(self) -> dict[str, int]:
        return _sum_by_dtype(self.tensors, "nbytes")

    @property
    def parameter_count(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)


def _sum_by_dtype(tensors: Iterable[Tensor], what: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for tensor in tensors:
        sums[tensor.dtype] = sums.get(tensor.dtype, 0) + getattr(tensor, what)
    return sums
