"""Pack one small matrix with each tool itself, and keep beside it the numbers that the tool reads from it.

Run by hand, from this folder, where these are: torch, transformers, safetensors, bitsandbytes 0.50, mlx[cpu] 0.32,
compressed-tensors 0.20, auto-gptq 0.7.1, autoawq 0.2.9 (the last two without their dependencies). Writes
FORM.safetensors (what the tool stores as `x.…`, and `expected`, float32, the ROWS of what it reads) and FORM.json (its
config).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

OUT, IN, GROUP = 64, 96, 32
ROWS = [0, 9, 10, 21, 27, 36, 54, 63]
"""Whose numbers are kept: every place in a word of eight, and the two places where 3 bits lie across two words."""
HERE = Path(__file__).parent


def matrix(out: int = OUT, columns: int = IN, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Rows of different sizes, about a mean of their own: no scale and no zero point is like another."""
    drawn = torch.randn(out, columns, generator=torch.Generator().manual_seed(1))
    rows = torch.linspace(0.5, 2, out)[:, None]
    return ((drawn + torch.linspace(-0.4, 0.4, out)[:, None]) * rows * 0.02).to(dtype)


def write(name: str, tensors: dict[str, torch.Tensor], expected: torch.Tensor, config: dict | None = None) -> None:
    kept = {key: value.detach().contiguous() for key, value in tensors.items()}
    save_file(kept | {"expected": expected.detach().float()[ROWS].contiguous()}, str(HERE / f"{name}.safetensors"))
    (HERE / f"{name}.json").write_text(json.dumps(config or {}) + "\n")
    error = (expected.float() - matrix(*expected.shape)).norm() / matrix(*expected.shape).norm()
    print(f"{name}: {sum(t.numel() * t.element_size() for t in kept.values())} bytes, error {error:.3f}")


# --- GPTQ


def bare(package: str) -> None:
    """Let parts of a package be imported without its beginning, which asks for older versions of others."""
    module = types.ModuleType(package)
    module.__path__ = list(importlib.util.find_spec(package).submodule_search_locations)
    sys.modules[package] = module


def grid(weight: torch.Tensor, bits: int, groups: torch.Tensor, symmetric: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zero points (out, groups), as auto-gptq's quantizer finds them."""
    scales, zeros = [], []
    for group in range(int(groups.max()) + 1):
        part = weight[:, groups == group]
        low, high = part.min(1).values.clamp(max=0), part.max(1).values.clamp(min=0)
        if symmetric:
            high = torch.maximum(-low, high)
            low = -high
        scale = (high - low) / (2**bits - 1)
        scales.append(scale)
        zeros.append(torch.full_like(scale, 2 ** (bits - 1)) if symmetric else torch.round(-low / scale))
    return torch.stack(scales, 1), torch.stack(zeros, 1)


def rounded(weight: torch.Tensor, bits: int, order: torch.Tensor, scales: torch.Tensor,
            zeros: torch.Tensor) -> torch.Tensor:
    """What the quantiser leaves in a layer before it is packed: packing itself holds no number within its bits."""
    codes = torch.round(weight / scales[:, order] + zeros[:, order]).clamp(0, 2**bits - 1)
    return ((codes - zeros[:, order]) * scales[:, order]).half()


def gptq(name: str, bits: int, *, act_order: bool = False, symmetric: bool = False) -> None:
    from auto_gptq.nn_modules.qlinear.qlinear_cuda import QuantLinear

    weight = matrix()
    order = torch.arange(IN) // GROUP
    if act_order:
        order = order[torch.randperm(IN, generator=torch.Generator().manual_seed(2))]
    scales, zeros = grid(weight, bits, order, symmetric)
    linear = torch.nn.Linear(IN, OUT, bias=False).half()
    linear.weight.data = rounded(weight, bits, order, scales, zeros)
    packed = QuantLinear(bits, GROUP, IN, OUT, False)
    packed.pack(linear, scales.half(), zeros.half(), order.to(torch.int32))
    read = packed(torch.eye(IN).half()).T
    write(name, {f"x.{key}": value for key, value in packed.state_dict().items()}, read,
          {"quantization_config": {"quant_method": "gptq", "bits": bits, "group_size": GROUP, "desc_act": act_order}})


def awq() -> None:
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    weight = matrix(dtype=torch.float16)
    scales, zeros = grid(weight.float(), 4, torch.arange(IN) // GROUP, False)
    linear = torch.nn.Linear(IN, OUT, bias=False).half()
    linear.weight.data = weight
    packed = WQLinear_GEMM.from_linear(linear, 4, GROUP, scales=scales.T.contiguous().half(),
                                       zeros=zeros.T.contiguous())
    read = dequantize_gemm(packed.qweight, packed.qzeros, packed.scales, 4, GROUP).T
    write("awq", {f"x.{key}": value for key, value in packed.state_dict().items()}, read,
          {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm"}})


# --- bitsandbytes


def four_bits(name: str, kind: str, nested: bool, columns: int = IN) -> None:
    import bitsandbytes.functional as functional

    packed, state = functional.quantize_4bit(matrix(columns=columns), blocksize=64, quant_type=kind,
                                             compress_statistics=nested)
    beside = {f"x.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
    # bitsandbytes 0.50 on a CPU misreads rows that end inside a block, and reads the same numbers right as one row.
    state.shape = torch.Size([1, OUT * columns])
    read = functional.dequantize_4bit(packed, state).reshape(OUT, columns)
    write(name, {"x.weight": packed} | beside, read,
          {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}})


def eight_bits() -> None:
    import bitsandbytes.functional as functional

    codes, scale, _ = functional.int8_vectorwise_quant(matrix(dtype=torch.float16))
    tensors = {"x.weight": codes, "x.SCB": scale, "x.weight_format": torch.tensor(0, dtype=torch.uint8)}
    write("bnb_int8", tensors, functional.int8_vectorwise_dequant(codes, scale),
          {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}})


# --- MLX


def mlx(name: str, **form: object) -> None:
    import mlx.core as mx

    parts = mx.quantize(mx.array(matrix().numpy()), **form)
    read = mx.dequantize(*parts, **form)
    names = ("weight", "scales", "biases")
    kept = {key: torch.from_numpy(np.array(part)) for key, part in zip(names, parts, strict=False)}
    write(name, {f"x.{key}": value for key, value in kept.items()}, torch.from_numpy(np.array(read.astype(mx.float32))),
          {"quantization": {"group_size": form.get("group_size", 32), "bits": form.get("bits", 4)}})


# --- compressed-tensors


def compressed(name: str, symmetric: bool = True, columns: int = IN, **told: object) -> None:
    from compressed_tensors.compressors.naive_quantized import IntQuantizationCompressor
    from compressed_tensors.compressors.nvfp4 import NVFP4PackedCompressor
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    args = QuantizationArgs(symmetric=symmetric, **told)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    weight = matrix(columns=columns)
    parts = weight.reshape(OUT, -1, args.group_size or columns)
    overall = generate_gparam(weight.min(), weight.max()) if told.get("type") == "float" else None
    scale, zero = calculate_qparams(parts.amin(-1), parts.amax(-1), args, global_scale=overall)
    state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
    if overall is not None:
        state["weight_global_scale"] = overall
    make = NVFP4PackedCompressor if overall is not None else IntQuantizationCompressor if name.endswith("int8") else \
        PackedQuantizationCompressor
    stored = make.compress(state, scheme)
    read = make.decompress(dict(stored), scheme)["weight"]
    write(name, {f"x.{key}": value for key, value in stored.items()}, read,
          {"quantization_config": {"quant_method": "compressed-tensors"}})


def main() -> None:
    logging.disable(logging.WARNING)
    bare("auto_gptq")
    for bits in (3, 4, 8):
        gptq(f"gptq{bits}", bits)
    gptq("gptq4_act_order", 4, act_order=True)
    gptq("gptq4_symmetric", 4, symmetric=True)
    awq()
    four_bits("bnb_nf4", "nf4", False, 128)
    four_bits("bnb_nf4_nested", "nf4", True, 128)
    four_bits("bnb_fp4", "fp4", True, 128)
    four_bits("bnb_nf4_across_rows", "nf4", True)
    eight_bits()
    for bits in (3, 4, 6, 8):
        mlx(f"mlx{bits}", bits=bits, group_size=32)
    for mode in ("mxfp4", "mxfp8", "nvfp4"):
        mlx(f"mlx_{mode}", mode=mode)
    compressed("ct_int4", num_bits=4, strategy="group", group_size=GROUP)
    compressed("ct_int4_zeros", False, num_bits=4, strategy="group", group_size=GROUP)
    compressed("ct_int3_zeros", False, columns=100, num_bits=3, strategy="channel")
    compressed("ct_int8", num_bits=8, strategy="channel")
    compressed("ct_nvfp4", num_bits=4, type="float", strategy="tensor_group", group_size=16)


if __name__ == "__main__":
    sys.exit(main())
