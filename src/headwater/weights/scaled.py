"""Tensors of a safetensors file whose numbers are kept small beside scales: found, and told as one tensor each.

Read: 8-bit floats with a scale for the tensor, for each row, or for blocks of it (`weight_scale_inv` of DeepSeek and
Qwen, `weight_scale` of compressed-tensors), and MXFP4 as gpt-oss has it (`X_blocks` of two numbers a byte, `X_scales`
of one exponent for 32). Knows names and shapes, reads no numbers. Sources: DeepSeek-V3's inference/kernel.py;
transformers' integrations/mxfp4.py; OCP Microscaling Formats 1.0, 5.3 and 6.3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from headwater.weights.header import Header, Tensor

MX_BLOCK = 32
_SIDES = (128, 64, 32, 16, 256, 512)
_SCALES = ("_scale_inv", "_scale")


class Blocks(NamedTuple):
    """A number at (row, column) counts scale[row // of * each + row % of // rows, column // columns] times itself.

    scale: (…, columns of scales). of: rows of one matrix of a stack, and each: rows of scales it has.
    """

    scale: Tensor
    rows: int
    columns: int
    of: int
    each: int


def find_scaled(header: Header) -> tuple[Header, dict[str, Blocks]]:
    """The header without its tensors of scales, and what scales which tensor, by its name."""
    by_name = {tensor.name: tensor for tensor in header.tensors}
    found: dict[str, Blocks] = {}
    gone: set[str] = set()
    tensors: list[Tensor] = []
    for tensor in header.tensors:
        stem = tensor.name.removesuffix("_blocks")
        scale = by_name.get(f"{stem}_scales") if stem != tensor.name else None
        if scale is not None and _is_mxfp4(tensor, scale):
            shape = (*tensor.shape[:-2], tensor.shape[-2] * MX_BLOCK)
            tensor = tensor._replace(name=stem, dtype="F4", shape=shape)
            blocks: Blocks | None = Blocks(scale._replace(dtype="F8_E8M0"), 1, MX_BLOCK, shape[-2], shape[-2])
        else:
            scale = next((by_name[tensor.name + end] for end in _SCALES if tensor.name + end in by_name), None)
            blocks = None if scale is None or not tensor.dtype.startswith("F8_") else _float8(tensor, scale)
        if blocks is not None and scale is not None:
            found[tensor.name] = blocks
            gone.add(scale.name)
        tensors.append(tensor)
    return replace(header, tensors=tuple(t for t in tensors if t.name not in gone)), found


def _is_mxfp4(tensor: Tensor, scale: Tensor) -> bool:
    return tensor.dtype == scale.dtype == "U8" and len(tensor.shape) >= 3 and tensor.elements > 0 \
        and tensor.shape[-1] == MX_BLOCK // 2 and scale.shape == tensor.shape[:-1]


def _float8(tensor: Tensor, scale: Tensor) -> Blocks | None:
    """None where the scales fit no way there is."""
    if len(tensor.shape) < 2 or not tensor.elements or scale.dtype not in ("F32", "BF16", "F16"):
        return None
    count, width = tensor.elements // tensor.shape[-1], tensor.shape[-1]
    if scale.elements == 1:
        return Blocks(scale._replace(shape=(1, 1)), count, width, count, 1)
    if scale.elements == count:
        return Blocks(scale._replace(shape=(count, 1)), 1, width, count, count)
    of = tensor.shape[-2]
    if scale.shape[:-2] != tensor.shape[:-2] or len(scale.shape) < 2:
        return None
    each, across = scale.shape[-2:]
    for side in _SIDES:
        if -(-of // side) == each and -(-width // side) == across:
            return Blocks(scale, side, side, of, each)
    return None
