"""compressed-tensors: `X.weight_packed` of whole numbers or 4-bit floats, and `X.weight` of 8 bits, beside scales.

Source: compressed-tensors 0.20, compressors/pack_quantized, naive_quantized, nvfp4, mxfp4. Its 8-bit floats are read in
weights/scaled.py.
"""

from __future__ import annotations

import numpy as np

from headwater.weights.header import Tensor
from headwater.weights.packed.parts import FLOATS, Files, Found, codes_of, flat, group_size, signed8, wrong
from headwater.weights.packed.rows import Factors, PackedRows, PackedZeros, Plain, finite


def find_packed_numbers(files: Files, tensor: Tensor) -> Found | None:
    stem = tensor.name.removesuffix("_packed")
    scale = files.get(f"{stem}_scale")
    if stem == tensor.name or scale is None or not stem.endswith("weight") or len(tensor.shape) < 2 \
            or not scale.elements or not tensor.elements:
        return None
    if tensor.dtype == "U8":
        return _compressed_float4(files, tensor, scale, stem)
    if tensor.dtype != "I32":
        return None
    shape = _told_shape(files, tensor, stem)
    words, columns = tensor.shape[-1], shape[-1]
    bits = next((bits for bits in range(1, 9) if -(-columns * bits // 32) == words), 0)
    if not bits:
        raise wrong(tensor, "compressed-tensors", f"{words} words do not hold {columns} numbers")
    whole = tensor._replace(name=stem, dtype=f"INT{bits}", shape=shape)
    table = np.arange(256, dtype=np.float32) - (1 << (bits - 1))
    return _whole_numbers(files, tensor, whole, scale, stem, bits, table)


def _told_shape(files: Files, tensor: Tensor, stem: str) -> tuple[int, ...]:
    told = files.get(f"{stem}_shape")
    if told is None:  # 4 bits and rows of whole words, as nearly all are
        return (*tensor.shape[:-1], tensor.shape[-1] * 8)
    shape = tuple(int(n) for n in files.numbers(told, 8)) if told.dtype in ("I64", "I32") else ()
    if len(shape) != len(tensor.shape) or shape[:-1] != tensor.shape[:-1] or shape[-1] < 1:
        raise wrong(tensor, "compressed-tensors", f"the shape beside it is {list(shape)} and its own "
                                                   f"{list(tensor.shape)}")
    return shape


def _whole_numbers(files: Files, tensor: Tensor, whole: Tensor, scale: Tensor, stem: str, bits: int,
                   table: np.ndarray) -> Found:
    form, columns = "compressed-tensors", whole.shape[-1]
    rows = whole.elements // columns
    across = scale.elements // rows if scale.elements >= rows else 0
    if scale.dtype not in FLOATS or (scale.elements != 1 and (not across or scale.elements != across * rows)):
        raise wrong(tensor, form, f"scales of shape {list(scale.shape)} do not fit {list(whole.shape)}")
    flat = (1, 1) if scale.elements == 1 else (rows, across)
    group = group_size(tensor, form, columns, max(across, 1)) if scale.elements != 1 else columns
    order = files.get(f"{stem}_g_idx")
    if order is not None and (order.shape != (columns,) or order.dtype not in ("I32", "I64")):
        raise wrong(tensor, form, f"its order of groups is {order.dtype} {list(order.shape)}")
    # An order that was not used is stored as -1 throughout.
    if order is not None and files.numbers(order._replace(shape=(1,)), 1)[0] == -1:
        order = None
    packed = PackedRows(whole, bits, group, table, Plain(scale._replace(shape=flat)),
                        _zero_points(files, tensor, stem, bits, flat), order=order)
    return Found(packed, tuple(stem + end for end in ("_packed", "_scale", "_shape", "_zero_point", "_g_idx")))


def _zero_points(files: Files, tensor: Tensor, stem: str, bits: int, flat: tuple[int, int]) -> Factors | None:
    zeros = files.get(f"{stem}_zero_point")
    if zeros is None:
        return None
    if zeros.dtype == "I32" and zeros.elements == -(-flat[0] * bits // 32) * flat[1] and bits < 8:
        return PackedZeros(zeros._replace(shape=(zeros.elements // flat[1], flat[1])), bits)
    if zeros.dtype in ("I8", *FLOATS) and zeros.elements == flat[0] * flat[1]:
        return Plain(zeros._replace(shape=flat))
    raise wrong(tensor, "compressed-tensors", f"zero points of {zeros.dtype} {list(zeros.shape)} do not fit its "
                                              "scales")


def _compressed_float4(files: Files, tensor: Tensor, scale: Tensor, stem: str) -> Found:
    """NVFP4 (groups of 16, 8-bit float scales over one for all) and MXFP4 (groups of 32, scales powers of two)."""
    columns, overall = tensor.shape[-1] * 2, files.get(f"{stem}_global_scale")
    group = 16 if overall is not None else 32
    dtype = "F8_E4M3" if overall is not None else "F8_E8M0"
    if scale.shape != (*tensor.shape[:-1], columns // group) or columns % group or scale.dtype not in (dtype, "U8"):
        raise wrong(tensor, "compressed-tensors", f"scales of {scale.dtype} {list(scale.shape)} do not fit it")
    # The scale for all is kept as what the others were multiplied by.
    times = 1.0 if overall is None else 1 / float(finite(files.numbers(overall, 1), overall.name)[0] or 1)
    called = "MXFP4" if overall is None else "NVFP4"
    whole = tensor._replace(name=stem, dtype=called, shape=(*tensor.shape[:-1], columns))
    packed = PackedRows(whole, 4, group, codes_of("F4"), Plain(flat(scale)._replace(dtype=dtype)), times=times)
    return Found(packed, tuple(stem + end for end in ("_packed", "_scale", "_global_scale", "_shape")))


def find_eight_bits(files: Files, tensor: Tensor) -> Found | None:
    scale = files.get(f"{tensor.name}_scale")
    if scale is None or tensor.dtype != "I8" or len(tensor.shape) < 2 or not tensor.elements \
            or scale.elements not in (1, tensor.elements // tensor.shape[-1]):
        return None  # other tools have these names too
    return _whole_numbers(files, tensor, tensor._replace(dtype="INT8"), scale, tensor.name, 8, signed8())
