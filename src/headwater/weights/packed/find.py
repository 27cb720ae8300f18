"""Packed matrices found among a model's tensors, and told as one tensor each.

Names and shapes tell which are packed and how; a matrix whose parts do not fit each other is refused, because it is
plain what it claims to be. Knows nothing of roles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from headwater.core.errors import CorruptFile
from headwater.weights.header import Header, Tensor
from headwater.weights.packed import bitsandbytes, compressed, gptq, mlx
from headwater.weights.packed.parts import Files, Found, Packed
from headwater.weights.packed.rows import Of

MAX_COLUMNS, MAX_ROWS = 1 << 18, 1 << 24
"""Five times the longest row there is (53,248), and all rows of the largest stack of experts."""
_FINDERS: tuple[Callable[[Files, Tensor], Found | None], ...] = (
    gptq.find_gptq, bitsandbytes.find_four_bits, bitsandbytes.find_eight_bits, mlx.find_mlx,
    compressed.find_packed_numbers, compressed.find_eight_bits)


def find_packed(header: Header, of: Of, config: Mapping[str, Any]) -> tuple[Header, dict[str, Packed]]:
    """The header with every packed matrix as one tensor, and how to read these, by name. of: the source of a tensor.
    Reads a few numbers for each matrix of bitsandbytes and compressed-tensors. Raises CorruptFile."""
    files = Files({tensor.name: tensor for tensor in header.tensors}, of, config)
    found: dict[str, Packed] = {}
    told: dict[str, Tensor] = {}
    gone: set[str] = set()
    for tensor in header.tensors:
        one = next((one for finder in _FINDERS if (one := finder(files, tensor)) is not None), None)
        if one is None:
            continue
        name = one.packed.tensor.name
        if name in found or (name in files.by_name and name != tensor.name):
            raise CorruptFile(f"tensor {name[:80]!r} is there twice: packed and as it is.")
        _check_size(one.packed.tensor)
        found[name], told[tensor.name] = one.packed, one.packed.tensor
        gone.update(part for part in one.parts if part != tensor.name)
    if not found:
        return header, found
    return replace(header, tensors=tuple(told.get(t.name, t) for t in header.tensors if t.name not in gone)), found


def _check_size(tensor: Tensor) -> None:
    columns = tensor.shape[-1] if tensor.shape else 0
    rows = tensor.elements // columns if columns else 0
    if not 0 < columns <= MAX_COLUMNS or not 0 < rows <= MAX_ROWS:
        raise CorruptFile(f"tensor {tensor.name[:80]!r} says it is {rows} by {columns}; at most {MAX_ROWS} by "
                          f"{MAX_COLUMNS} are read.")
