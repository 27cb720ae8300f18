"""MLX: `X.weight` of words, `X.scales` and `X.biases`, one for each group of a row; or scales alone, of 4-bit floats.

Source: mlx 0.32, mx.quantize and mx.dequantize. Bits and group are told by the config where shapes leave it open.
"""

from __future__ import annotations

import numpy as np

from headwater.weights.header import Tensor
from headwater.weights.packed.parts import FLOATS, Files, Found, codes_of, flat, wrong
from headwater.weights.packed.rows import PackedRows, Plain

_FORMS = ((4, 64), (8, 64), (4, 32), (8, 32), (4, 128), (6, 64), (3, 64), (5, 64), (2, 64), (8, 128), (6, 32), (3, 32),
          (5, 32), (2, 32), (6, 128), (3, 128), (5, 128), (2, 128))
"""(bits, group), the commonest first."""
NEAR_ZERO = 1 / 8
"""MLX lays one step of every group on 0. Scale and bias, each rounded to 16 bits, leave it a little beside; which side
that is says nothing. 8 bits of a bfloat16 scale leave it further off than this."""
_FLOAT_FORMS = {(4, 32): ("MXFP4", "F4", "F8_E8M0"), (8, 32): ("MXFP8", "F8_E4M3", "F8_E8M0"),
                (4, 16): ("NVFP4", "F4", "F8_E4M3")}
"""What such a form is called, the numbers, the scales."""


def find_mlx(files: Files, tensor: Tensor) -> Found | None:
    stem = tensor.name.removesuffix(".weight")
    scales, biases = files.get(f"{stem}.scales"), files.get(f"{stem}.biases")
    if scales is None or stem == tensor.name or tensor.dtype != "U32" or len(tensor.shape) < 2:
        return None
    if scales.shape[:-1] != tensor.shape[:-1] or not scales.elements or not tensor.elements \
            or (biases is not None and biases.shape != scales.shape):
        raise wrong(tensor, "MLX", f"{list(tensor.shape)} words do not fit scales of shape {list(scales.shape)}")
    bits, group = _mlx_form(files, tensor, scales, biases, stem)
    whole = tensor._replace(dtype=f"MLX{bits}", shape=(*tensor.shape[:-1], tensor.shape[-1] * 32 // bits))
    if biases is None:
        name, number, scale = _FLOAT_FORMS[bits, group]
        factors = Plain(flat(scales)._replace(dtype=scale))
        packed = PackedRows(whole._replace(dtype=name), bits, group, codes_of(number), factors)
    else:
        packed = PackedRows(whole, bits, group, np.arange(256, dtype=np.float32), Plain(flat(scales)),
                            bias=Plain(flat(biases)), near_zero=NEAR_ZERO if bits < 8 else 0)
    return Found(packed, (scales.name, f"{stem}.biases"))


def _mlx_form(files: Files, tensor: Tensor, scales: Tensor, biases: Tensor | None, stem: str) -> tuple[int, int]:
    """(bits, group): of those that fit the shapes the one the config names, else the commonest."""
    words, groups = tensor.shape[-1], scales.shape[-1]
    forms = _FORMS if biases is not None and scales.dtype in FLOATS else tuple(_FLOAT_FORMS) if biases is None and \
        scales.dtype == "U8" else ()
    fitting = [(bits, group) for bits, group in forms if words * 32 == groups * group * bits]
    if not fitting:
        raise wrong(tensor, "MLX", f"{words} words beside {groups} groups of {scales.dtype} are no form that is read")
    told = files.config.get("quantization")
    told = told if isinstance(told, dict) else {}
    for one in (told.get(stem), told):
        form = (one.get("bits"), one.get("group_size")) if isinstance(one, dict) else None
        if form in fitting:
            return fitting[fitting.index(form)]
    return fitting[0]
