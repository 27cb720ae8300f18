"""GPTQ and AWQ: `X.qweight`, `X.scales`, `X.qzeros` and, of GPTQ, `X.g_idx`, told apart by their shapes.

Sources: auto-gptq 0.7.1, nn_modules/qlinear/qlinear_cuda_old.py; autoawq 0.2.9, modules/linear/gemm.py. AWQ's other
orders (gemv, marlin, exllama) are not read.
"""

from __future__ import annotations

from headwater.weights.header import Tensor
from headwater.weights.packed.columns import PackedColumns
from headwater.weights.packed.parts import FLOATS, Files, Found, group_size, wrong


def find_gptq(files: Files, tensor: Tensor) -> Found | None:
    stem = tensor.name.removesuffix(".qweight")
    scales = files.get(f"{stem}.scales")
    if stem == tensor.name or scales is None or tensor.dtype != "I32" or len(tensor.shape) != 2:
        return None
    zeros, order = files.get(f"{stem}.qzeros"), files.get(f"{stem}.g_idx")
    if len(scales.shape) != 2 or scales.dtype not in FLOATS or not tensor.elements or not scales.elements:
        raise wrong(tensor, "GPTQ or AWQ", f"its scales are {scales.dtype} {list(scales.shape)}")
    groups, out = scales.shape
    make = _gptq if tensor.shape[1] == out else _awq
    packed = make(files, tensor, scales, zeros, order, f"{stem}.weight")
    wanted = (groups, out * packed.bits // 32)
    if zeros is not None and (zeros.dtype != "I32" or zeros.shape != wanted):
        raise wrong(tensor, "GPTQ or AWQ", f"its zero points are {zeros.dtype} {list(zeros.shape)}; "
                                            f"I32 {list(wanted)} fit")
    parts = (tensor.name, scales.name, f"{stem}.qzeros", f"{stem}.g_idx")
    return Found(packed, parts)


def _gptq(files: Files, tensor: Tensor, scales: Tensor, zeros: Tensor | None, order: Tensor | None,
          name: str) -> PackedColumns:
    lines, out = tensor.shape
    groups = scales.shape[0]
    told = _of_config(files, "bits")
    if order is not None and (len(order.shape) != 1 or order.dtype not in ("I32", "I64")):
        raise wrong(tensor, "GPTQ", f"its order of groups is {order.dtype} {list(order.shape)}")
    if order is not None and order.elements:
        bits, rest = divmod(lines * 32, order.elements)
    else:
        bits, rest = zeros.shape[-1] * 32 // out if zeros is not None else told if isinstance(told, int) else 4, 0
    if rest or bits not in (2, 3, 4, 8):
        raise wrong(tensor, "GPTQ", f"{lines} lines of words hold no whole number of bits for each input")
    width = lines * 32 // bits
    group = group_size(tensor, "GPTQ", width, groups)
    # The first version of the format stores zero points less one (auto-gptq, qlinear_cuda_old.py).
    above = 0 if _of_config(files, "checkpoint_format") == "gptq_v2" else 1
    whole = tensor._replace(name=name, dtype=f"GPTQ{bits}", shape=(out, width))
    return PackedColumns(whole, tensor, scales, zeros, bits, group, order if order is not None and order.elements else
                         None, above=above)


def _awq(files: Files, tensor: Tensor, scales: Tensor, zeros: Tensor | None, order: Tensor | None,
         name: str) -> PackedColumns:
    width, words = tensor.shape
    groups, out = scales.shape
    if words * 8 != out:
        raise wrong(tensor, "AWQ", f"{words} words do not hold {out} outputs of 4 bits")
    group = group_size(tensor, "AWQ", width, groups)
    whole = tensor._replace(name=name, dtype="AWQ4", shape=(out, width))
    return PackedColumns(whole, tensor, scales, zeros, 4, group, interleaved=True)


def _of_config(files: Files, name: str) -> object:
    told = files.config.get("quantization_config")
    return told.get(name) if isinstance(told, dict) else None
