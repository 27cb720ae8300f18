"""Models packed as GPTQ, AWQ, bitsandbytes, MLX and compressed-tensors pack them, in numpy.

What is written is held against the tools' own files in tests/weights/test_packed.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

Tensors = dict[str, np.ndarray]
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
NF4 = np.array([-1, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0, 0.0795803,
                0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1], np.float32)


def words(codes: np.ndarray, bits: int) -> np.ndarray:
    """uint32 (n, words): rows of whole numbers, one behind another from the lowest bit on."""
    ones = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(len(codes), -1)
    missing = -ones.shape[1] % 32
    return np.packbits(np.pad(ones, ((0, 0), (0, missing))), axis=1, bitorder="little").view("<u4")


def interleaved(codes: np.ndarray) -> np.ndarray:
    """AWQ's: eight columns a word, in its order."""
    return words(codes.reshape(len(codes), -1, 8)[:, :, AWQ_ORDER].reshape(codes.shape), 4)


def grid(weight: np.ndarray, group: int, bits: int = 4, zero: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(scales, zero points), float32 (out, groups)."""
    parts = weight.reshape(len(weight), -1, group)
    low, high = np.minimum(parts.min(-1), 0), np.maximum(parts.max(-1), 0)
    if not zero:
        high = np.maximum(-low, high)
        low = -high
    scales = np.maximum((high - low) / (2**bits - 1), 1e-8).astype(np.float16).astype(np.float32)
    zeros = np.round(-low / scales) if zero else np.full(scales.shape, 2 ** (bits - 1))
    return scales, np.clip(zeros, 0, 2**bits - 1).astype(np.float32)


def nearest(weight: np.ndarray, scales: np.ndarray, zeros: np.ndarray, group: int, bits: int = 4) -> np.ndarray:
    wide = [np.repeat(part, group, axis=1) for part in (scales, zeros)]
    return np.clip(np.round(weight / wide[0] + wide[1]), 0, 2**bits - 1).astype(np.int64)


def gptq(name: str, weight: np.ndarray, *, group: int = 32, bits: int = 4, inputs: np.ndarray | None = None) -> Tensors:
    """inputs (n, in): what the layer hears; each column's rounding is then made up for in those behind it, as the paper
    does (Frantar et al. 2022, algorithm 1)."""
    scales, zeros = grid(weight, group, bits)
    codes = nearest(weight, scales, zeros, group, bits)
    if inputs is not None:
        hessian = inputs.T @ inputs
        hessian += np.eye(len(hessian)) * 0.01 * np.diag(hessian).mean()
        upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
        left = weight.astype(np.float64).copy()
        for n in range(weight.shape[1]):
            scale, zero = scales[:, n // group], zeros[:, n // group]
            codes[:, n] = np.clip(np.round(left[:, n] / scale + zero), 0, 2**bits - 1)
            error = (left[:, n] - (codes[:, n] - zero) * scale) / upper[n, n]
            left[:, n + 1:] -= np.outer(error, upper[n, n + 1:])
    stem = name.removesuffix("weight")
    return {f"{stem}qweight": words(codes, bits).view("<i4").T,
            f"{stem}qzeros": words(zeros.T.astype(np.int64) - 1 & 2**bits - 1, bits).view("<i4"),
            f"{stem}scales": scales.T.astype(np.float16),
            f"{stem}g_idx": np.arange(codes.shape[1], dtype=np.int32) // group}


def awq(name: str, weight: np.ndarray, group: int = 32) -> Tensors:
    scales, zeros = grid(weight, group)
    codes, stem = nearest(weight, scales, zeros, group), name.removesuffix("weight")
    return {f"{stem}qweight": interleaved(codes.T).view("<i4"),
            f"{stem}qzeros": interleaved(zeros.T.astype(np.int64)).view("<i4"),
            f"{stem}scales": scales.T.astype(np.float16)}


def nf4(name: str, weight: np.ndarray, block: int = 64) -> Tensors:
    parts = weight.reshape(-1, block)
    absmax = np.maximum(np.abs(parts).max(1), 1e-12).astype(np.float32)
    codes = np.abs((parts / absmax[:, None])[..., None] - NF4).argmin(-1).reshape(-1, 2)
    state = {"quant_type": "nf4", "blocksize": block, "dtype": "float32", "shape": list(weight.shape)}
    return {name: (codes[:, :1] << 4 | codes[:, 1:]).astype(np.uint8), f"{name}.absmax": absmax,
            f"{name}.quant_map": NF4,
            f"{name}.quant_state.bitsandbytes__nf4": np.frombuffer(json.dumps(state).encode(), np.uint8)}


def int8(name: str, weight: np.ndarray) -> Tensors:
    most = np.abs(weight).max(1)
    stem = name.removesuffix("weight")
    return {name: np.round(weight / most[:, None] * 127).astype(np.int8), f"{stem}SCB": most.astype(np.float32),
            f"{stem}weight_format": np.zeros((), np.uint8)}


def mlx(name: str, weight: np.ndarray, group: int = 64, bits: int = 4) -> Tensors:
    """As mx.quantize: from the end that is farther from 0, in steps that meet 0."""
    parts = weight.reshape(len(weight), -1, group)
    low, high = parts.min(-1), parts.max(-1)
    below = np.abs(low) > np.abs(high)
    scales = np.maximum((high - low) / (2**bits - 1), 1e-7) * np.where(below, 1, -1)
    edge = np.where(below, low, high)
    steps = np.round(edge / scales)
    scales = np.where(steps != 0, edge / np.where(steps != 0, steps, 1), scales).astype(np.float32)
    biases = np.where(steps != 0, edge, 0).astype(np.float32)
    codes = np.clip(np.round((parts - biases[..., None]) / scales[..., None]), 0, 2**bits - 1).astype(np.int64)
    stem = name.removesuffix("weight")
    half = {f"{stem}scales": scales.astype(np.float16), f"{stem}biases": biases.astype(np.float16)}
    return {name: words(codes.reshape(weight.shape), bits)} | half


def compressed(name: str, weight: np.ndarray, group: int = 32) -> Tensors:
    scales, zeros = grid(weight, group, zero=False)
    codes = nearest(weight, scales, zeros, group)
    return {f"{name}_packed": words(codes, 4).view("<i4"), f"{name}_scale": scales.astype(np.float16),
            f"{name}_shape": np.array(weight.shape)}


def packed(tensors: Tensors, pack: Callable[[str, np.ndarray], Tensors], embeddings: bool = False) -> Tensors:
    """A model's tensors, the matrices of its layers packed, all else in 16 bits. embeddings: those too."""
    found: Tensors = {}
    for name, array in tensors.items():
        if array.ndim == 2 and (embeddings or ".layers." in name):
            found |= pack(name, np.asarray(array, np.float32))
        else:
            found[name] = array.astype(np.float16)
    return {name: np.ascontiguousarray(array) for name, array in found.items()}
