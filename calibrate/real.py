"""SmolLM2 and other real models as arrays, and short real fine-tunes of SmolLM2 made with torch and kept."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np
from clients import torch_python
from real_models import smollm2_gguf
from trace_made import Made

from calibrate import FOLDER, text
from headwater.trace.reader import Reader
from headwater.trace.roles import find_roles
from headwater.weights.source import FileSource

_NAMES = {"gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down", "q": "attn_q", "k": "attn_k", "v": "attn_v",
          "o": "attn_output", "norm1": "attn_norm", "norm2": "ffn_norm"}
TUNED_STEPS = (10, 40)
HEADS, KEY_HEADS, HEAD = 9, 3, 64


@lru_cache(maxsize=1)
def smollm2() -> Made:
    """All of SmolLM2-135M-Instruct in float32, 540 MB."""
    return read_gguf(smollm2_gguf())


def read_gguf(path: Path, parts: tuple[str, ...] = tuple(_NAMES), words: int = 0) -> Made:
    """parts: of each layer. words: of the vocabulary, evenly spread over it; 0 is all."""
    with Reader(lambda _: FileSource(path), {"m.gguf": path.stat().st_size}) as reader:
        roles = find_roles(reader.header, len(reader.tokens))
        tensors = {t.name: t for t in reader.header.tensors}

        def array(name: str) -> np.ndarray:
            tensor = tensors[f"{name}.weight"]
            whole = np.concatenate([block for _, block in reader._blocks(tensor)])
            return whole.reshape(-1) if len(tensor.shape) == 1 else whole

        count = len(reader.tokens)
        numbers = np.unique(np.linspace(0, count - 1, words or count).astype(np.int64))
        layers = [{short: array(f"{role.key}.{_NAMES[short]}") for short in parts} for role in roles.layers]
        names = [reader.tokens.text(int(n)).decode("utf-8", "replace") for n in numbers]
        return Made(names, reader.rows(roles.embedding, numbers), layers)


def tuned(steps: int) -> Made:
    """SmolLM2 after so many real steps (TUNED_STEPS) of AdamW at 5e-4 on 96 tokens each, kept after the first time."""
    file = FOLDER / f"smollm2-tuned-{steps}.npz"
    if not file.is_file():
        _tune()
    base = smollm2()
    with np.load(file) as kept:
        layers = [{name: kept[f"{n}.{name}"].astype(np.float32) for name in _NAMES} for n in range(len(base.layers))]
        return Made(base.words, kept["embed"].astype(np.float32), layers)


def _tune() -> None:
    base = smollm2()
    arrays = {"embed": base.embed, "tokens": _tokens(base.words), "last": _last_gain(smollm2_gguf())}
    arrays |= {f"{n}.{name}": array for n, layer in enumerate(base.layers) for name, array in layer.items()}
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez(FOLDER / "smollm2.npz", **arrays)
    script = Path(__file__).with_name("tune_in_torch.py")
    subprocess.run([str(torch_python()), str(script), str(FOLDER), *map(str, TUNED_STEPS)], check=True)
    (FOLDER / "smollm2.npz").unlink()


def _last_gain(path: Path) -> np.ndarray:
    with Reader(lambda _: FileSource(path), {"m.gguf": path.stat().st_size}) as reader:
        return reader.vector(next(t for t in reader.header.tensors if t.name == "output_norm.weight"))


def _tokens(words: list[str]) -> np.ndarray:
    """English of the Python installation, each word cut by the longest token."""
    numbers = {word.replace("Ġ", " ").replace("Ċ", "\n"): n for n, word in enumerate(words)}
    known: dict[str, list[int]] = {}
    pieces = text._PIECES.findall(text._texts()["english"][:100_000])
    return np.array([n for piece in pieces for n in text._cut(piece, numbers, known)], np.int64)
