"""The numbers of an adapter's change to a matrix, by rows, and what of it tells rows that are alike.

Memory: the rows asked, and the small factors. Knows how changes are factored (trace/changes.py); judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headwater.trace.changes import Change
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix
from headwater.weights.header import Tensor


def rows_of(reader: Reader, change: Change, numbers: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """float32 (len(numbers), in): chosen rows of what is added, as far as the files say its size; numbers that are none
    as zeros. base: those rows of the base, which DoRA needs; without them its lengths are left out."""
    if change.kind == "lora":
        up, down = halves_of(reader, change, numbers)
        added = up @ down
    elif change.kind == "loha":
        added = np.ones((len(numbers), change.shape[1]), np.float32)
        for n in (1, 2):
            added *= _read(reader, change.parts[f"w{n}_a"], numbers) @ _read(reader, change.parts[f"w{n}_b"])
    else:
        one, two = (_half(reader, change.parts, half) for half in ("w1", "w2"))
        left, right = one[numbers // len(two)], two[numbers % len(two)]
        added = (left[:, :, None] * right[:, None, :]).reshape(len(numbers), -1)
    if change.magnitude is None or base is None:
        return added
    whole = base + np.float32(scale_of(reader, change)) * added
    lengths = _read(reader, change.magnitude._replace(shape=(change.magnitude.elements, 1)), numbers)
    return whole * (lengths / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-30)) - base


def written(reader: Reader, change: Change, numbers: np.ndarray) -> np.ndarray:
    """float32 (len(numbers), n): what tells how the chosen rows' changes are alike. LoRA's up half has it in little."""
    return halves_of(reader, change, numbers)[0] if change.kind == "lora" else rows_of(reader, change, numbers)


def halves_of(reader: Reader, change: Change, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """LoRA's: float32 (len(numbers), r), (r, in)."""
    return _read(reader, change.up, numbers), _read(reader, change.down)


def scale_of(reader: Reader, change: Change) -> float:
    """What the change counts times, by its alpha or the adapter's config; 1 where neither says it."""
    config = reader.config
    alpha: Any = config.get("lora_alpha", config.get("alpha"))
    rank: Any = change.rank or config.get("r")
    if change.alpha is not None:
        alpha = float(reader.vector(change.alpha)[0])
    if not isinstance(alpha, int | float) or not np.isfinite(alpha) or not isinstance(rank, int) or rank < 1:
        return 1.0
    return float(alpha) / (rank**0.5 if config.get("use_rslora") is True else rank)


def _half(reader: Reader, parts: Mapping[str, Tensor], name: str) -> np.ndarray:
    if name in parts:
        return _read(reader, parts[name])
    return _read(reader, parts[f"{name}_a"]) @ _read(reader, parts[f"{name}_b"])


def _read(reader: Reader, tensor: Tensor, numbers: np.ndarray | None = None) -> np.ndarray:
    chosen = np.arange(tensor.shape[0]) if numbers is None else numbers
    return np.nan_to_num(reader.rows(Matrix(tensor), chosen), posinf=0, neginf=0)
