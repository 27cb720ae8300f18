"""What a row means in the stream: the norm before it folded in, and the direction no model hears taken out.

A matrix reads what a norm leaves. Its gain multiplies the row. A LayerNorm also takes the mean off, so what a row holds
along that direction does nothing: a copy may hold anything there, and one whose stream was turned holds nothing. Where
norms stand behind the blocks (BERT) the row reads gain * n + bias with n without mean, so the silent direction is one
over the gain, and the gain stays where it is. What is written to a stream that LayerNorms read, embeddings too, counts
without its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.trace.reader import Reader
from headwater.trace.roles import Layer

_WITHOUT_BIAS = frozenset({"cohere", "cohere2", "command-r", "dbrx", "modernbert", "modern-bert", "mpt", "olmo"})
"""Declared architectures whose LayerNorms have no bias, so that shapes cannot tell them from RMSNorms."""


@dataclass(frozen=True)
class Folding:
    """gain: float32 (width,) or None. silent: float32 (width,), of norm 1, or None: what no row counts along, after
    the gain."""

    gain: np.ndarray | None = None
    silent: np.ndarray | None = None

    def fold(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n, width), as the stream sees these rows. May be `rows` itself."""
        if self.gain is not None:
            rows = rows * self.gain
        return rows if self.silent is None else rows - np.outer(rows @ self.silent, self.silent)


def gain_of(reader: Reader, layer: Layer) -> np.ndarray | None:
    """float32 (width,): what the norm before the MLP multiplies by; None where there is none."""
    if layer.gain is None:
        return None
    gain = reader.vector(layer.gain)
    # Gemma keeps its gains less one in safetensors; a GGUF file has them whole.
    return gain + 1 if _declared(reader).startswith("gemma") and reader.header.format != "gguf" else gain


def is_centred(reader: Reader, layer: Layer) -> bool:
    """Whether what reads this layer's stream takes the mean off first."""
    return layer.centred or _declared(reader) in _WITHOUT_BIAS


def folding_of(reader: Reader, layer: Layer) -> Folding:
    """Of the rows that read the stream in front of the MLP."""
    gain = gain_of(reader, layer)
    if not is_centred(reader, layer):
        return Folding(gain)
    width = layer.ups[0].shape[1]
    silent = np.ones(width, np.float32)
    if gain is None and layer.after is not None:
        after = reader.vector(layer.after)
        silent = np.where(np.abs(after) > 1e-6, 1 / after, 0).astype(np.float32)
    length = float(np.linalg.norm(silent))
    return Folding(gain, silent / np.float32(length) if np.isfinite(length) and length > 0 else None)


def centred(rows: np.ndarray) -> np.ndarray:
    """Rows that write to the stream, each less its mean."""
    return rows - rows.mean(1, keepdims=True)


def _declared(reader: Reader) -> str:
    return str(reader.config.get("model_type") or reader.header.metadata.get("general.architecture") or "")
