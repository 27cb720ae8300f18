"""bitsandbytes as transformers saves it: NF4 and FP4 with the state of their packing beside them, and LLM.int8.

Source: bitsandbytes 0.50, functional.py (QuantState.as_dict, dequantize_4bit, int8_vectorwise_dequant).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from headwater.weights.header import Tensor
from headwater.weights.packed.parts import FLOATS, MIN_GROUP, Files, Found, signed8, wrong
from headwater.weights.packed.rows import Factors, Nested, PackedRows, Plain, finite

MAX_STATE = 4_096
"""Bytes of the text that is kept beside a matrix."""
_STATE = ".quant_state.bitsandbytes__"


def find_four_bits(files: Files, tensor: Tensor) -> Found | None:
    kind = next((kind for kind in ("nf4", "fp4") if files.get(f"{tensor.name}{_STATE}{kind}")), None)
    if kind is None:
        return None
    text = files.by_name[f"{tensor.name}{_STATE}{kind}"]
    state = _state(files, tensor, text)
    absmax, table = files.get(f"{tensor.name}.absmax"), files.get(f"{tensor.name}.quant_map")
    shape, block = state.get("shape"), state.get("blocksize")
    if absmax is None or table is None or not isinstance(block, int) or block < MIN_GROUP:
        raise wrong(tensor, "bitsandbytes", "its scales, its table or the size of its blocks are missing")
    if not isinstance(shape, list) or len(shape) < 2 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise wrong(tensor, "bitsandbytes", "the shape it had is missing")
    whole = tensor._replace(dtype=kind.upper(), shape=tuple(shape))
    if whole.elements != 2 * tensor.nbytes or tensor.dtype not in ("U8", "BF16", "F16", "F32") or shape[-1] % 2:
        raise wrong(tensor, "bitsandbytes", f"{tensor.nbytes} bytes are not {shape} numbers of 4 bits")
    if absmax.elements != -(-whole.elements // block):
        raise wrong(tensor, "bitsandbytes", f"its {absmax.elements} scales are not one for every {block} numbers")
    within = shape[-1] % block == 0
    flat = absmax._replace(shape=(whole.elements // shape[-1], shape[-1] // block) if within else (absmax.elements, 1))
    packed = PackedRows(whole, 4, block, _table(files, table, 16), _scales(files, tensor, flat, state), high_first=True,
                        across_rows=not within)
    ends = ("", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")
    return Found(packed, (text.name, *(tensor.name + end for end in ends)))


def _state(files: Files, tensor: Tensor, text: Tensor) -> dict[str, Any]:
    if text.nbytes > MAX_STATE:
        raise wrong(tensor, "bitsandbytes", f"the text beside it has {text.nbytes} bytes; at most {MAX_STATE} are "
                                            "read")
    try:
        state = json.loads(files.of(text).read(text.start, text.stop))
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise wrong(tensor, "bitsandbytes", "the text beside it is no JSON object")
    return state


def _table(files: Files, tensor: Tensor, count: int) -> np.ndarray:
    if tensor.elements != count:
        raise wrong(tensor, "bitsandbytes", f"its table has {tensor.elements} numbers and not {count}")
    return finite(files.numbers(tensor, count), tensor.name)


def _scales(files: Files, tensor: Tensor, absmax: Tensor, state: Mapping[str, Any]) -> Factors:
    if absmax.dtype in FLOATS:
        return Plain(absmax)
    outer, table = files.get(f"{tensor.name}.nested_absmax"), files.get(f"{tensor.name}.nested_quant_map")
    block, offset = state.get("nested_blocksize"), state.get("nested_offset")
    if outer is None or table is None or not isinstance(block, int) or block < MIN_GROUP or absmax.dtype != "U8" \
            or not isinstance(offset, int | float) or not np.isfinite(offset) \
            or outer.elements != -(-absmax.elements // block):
        raise wrong(tensor, "bitsandbytes", "what its scales are packed with does not fit them")
    return Nested(absmax, _table(files, table, 256), outer, block, float(offset))


def find_eight_bits(files: Files, tensor: Tensor) -> Found | None:
    """LLM.int8: a scale for each row, which is the row's greatest number."""
    stem = tensor.name.removesuffix(".weight")
    scale = files.get(f"{stem}.SCB")
    if scale is None or stem == tensor.name or tensor.dtype != "I8" or len(tensor.shape) != 2:
        return None
    if scale.elements != tensor.shape[0] or scale.dtype not in FLOATS:
        raise wrong(tensor, "bitsandbytes", f"its {scale.elements} scales are not one for each of "
                                            f"{tensor.shape[0]} rows")
    whole = tensor._replace(dtype="INT8")
    packed = PackedRows(whole, 8, tensor.shape[1], signed8(), Plain(scale._replace(shape=(scale.elements, 1))),
                        times=1 / 127)
    return Found(packed, (scale.name, f"{stem}.weight_format"))
