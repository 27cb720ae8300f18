"""Some layers of a real model, as numbers that tests can disguise."""

from __future__ import annotations

import numpy as np
from real_models import smollm2_gguf
from trace_made import Made

from headwater.trace.reader import Reader
from headwater.trace.roles import Layer, find_roles
from headwater.weights.source import FileSource


def part_of_smollm2(count: int) -> Made:
    """The embeddings and some layers of SmolLM2, as float32."""
    path = smollm2_gguf()
    with Reader(lambda _: FileSource(path), {"m.gguf": path.stat().st_size}) as reader:
        roles = find_roles(reader.header, len(reader.tokens))

        def array(name: str) -> np.ndarray:
            tensor = next(t for t in reader.header.tensors if t.name == name)
            whole = np.concatenate([block for _, block in reader._blocks(tensor)])
            return whole.reshape(-1) if len(tensor.shape) == 1 else whole

        def layer(role: Layer) -> dict[str, np.ndarray]:
            names = {"gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down", "q": "attn_q", "k": "attn_k",
                     "v": "attn_v", "o": "attn_output", "norm1": "attn_norm", "norm2": "ffn_norm"}
            return {short: array(f"{role.key}.{name}.weight") for short, name in names.items()}

        chosen = roles.layers[:: len(roles.layers) // count][:count]
        words = [reader.tokens.text(n).decode() for n in range(len(reader.tokens))]
        return Made(words, array(roles.embedding.tensor.name), [layer(role) for role in chosen])
