"""The files storage is measured on: SmolLM2 in bfloat16, a real fine-tune of it, and copies with noise on them.

The wheel holds Q4_1, so the mantissas are restored by noise inside each step of the quantisation: what is lost of the
release stays lost, what compresses does so as in a file that was trained. Kept in the environment after the first time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(sys.prefix) / "storage-bench"
TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "trace"), str(TESTS.parent)]


def base_and_tuned() -> tuple[Path, Path]:
    """(SmolLM2 in bfloat16, the same after ten real steps of AdamW at 2e-5 on Python source)."""
    from clients import torch_python

    FOLDER.mkdir(parents=True, exist_ok=True)
    base, tuned = FOLDER / "base.safetensors", FOLDER / "tuned.safetensors"
    if not tuned.is_file():
        _write_arrays(FOLDER / "arrays.npz")
        script = Path(__file__).with_name("tune_a_little.py")
        subprocess.run([str(torch_python()), str(script), str(FOLDER / "arrays.npz"), str(FOLDER)], check=True)
        (FOLDER / "arrays.npz").unlink()
    return base, tuned


def noisy(base: Path, sigma: float) -> Path:
    """A copy with Gaussian noise on every matrix, rounded to bfloat16."""
    target = FOLDER / f"noise-{sigma:g}.safetensors"
    if target.is_file():
        return target
    rng = np.random.default_rng(1)
    data = bytearray(base.read_bytes())
    length = int.from_bytes(data[:8], "little")
    for name, tensor in json.loads(data[8:8 + length]).items():
        if name == "__metadata__" or len(tensor["shape"]) < 2:
            continue
        start, stop = (8 + length + n for n in tensor["data_offsets"])
        words = np.frombuffer(memoryview(data)[start:stop], np.uint16)
        values = (words.astype(np.uint32) << 16).view(np.float32)
        values = values + rng.standard_normal(len(values), np.float32) * np.float32(sigma)
        words[:] = bfloat16(values)
    part = target.with_suffix(".part")
    part.write_bytes(data)
    part.rename(target)
    return target


def bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest, ties to even; as uint16."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _write_arrays(target: Path) -> None:
    from real_models import smollm2_gguf

    from calibrate import real

    model, rng = real.smollm2(), np.random.default_rng(0)
    arrays = {"embed": model.embed, "last": real._last_gain(smollm2_gguf())}
    arrays |= {f"{n}.{name}": array for n, layer in enumerate(model.layers) for name, array in layer.items()}
    arrays = {name: _dithered(array, rng) if array.ndim > 1 else array for name, array in arrays.items()}
    part = target.with_name(f".{os.getpid()}.npz")
    np.savez(part, tokens=_tokens(model.words), **arrays)
    part.rename(target)


def _dithered(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uniform noise of one step of the quantisation, as wide as each block of 32 has its steps (16 of them)."""
    blocks = array.reshape(-1, 32)
    step = (blocks.max(1, keepdims=True) - blocks.min(1, keepdims=True)) / 15
    noise = rng.random(blocks.shape, np.float32) - np.float32(0.5)
    return (blocks + noise * step).astype(np.float32).reshape(array.shape)


def _tokens(words: list[str]) -> np.ndarray:
    """Python source of the standard library, each piece cut by the longest token."""
    from calibrate import text

    numbers = {word.replace("Ġ", " ").replace("Ċ", "\n"): n for n, word in enumerate(words)}
    known: dict[str, list[int]] = {}
    source = "".join(p.read_text("utf-8") for p in sorted(Path(os.__file__).parent.glob("a*.py")))
    pieces = text._PIECES.findall(source[:100_000])
    return np.array([n for piece in pieces for n in text._cut(piece, numbers, known)], np.int64)
