"""SmolLM2 under another name: layers left out, neurons shuffled, a little noise, other tensor names, Q8_0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

_NAMES = {"ffn_gate": "w1", "ffn_up": "w3", "ffn_down": "w2", "attn_q": "aq", "attn_k": "ak", "attn_v": "av",
          "attn_output": "ao", "attn_norm": "n1", "ffn_norm": "n2"}


def disguised(source: Path, target: Path, layers: Sequence[int], noise: float) -> Path:
    rng, reader = np.random.default_rng(1), gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    tokens = reader.fields["tokenizer.ggml.tokens"]
    writer.add_token_list([bytes(tokens.parts[n]) for n in tokens.data])
    writer.add_tokenizer_model("gpt2")
    orders = [rng.permutation(1536) for _ in range(30)]
    for tensor in reader.tensors:
        block = tensor.name.split(".")
        if block[0] == "blk" and int(block[1]) not in layers:
            continue
        if block[0] != "blk":
            writer.add_tensor(tensor.name.replace("token_embd", "wte"), tensor.data, raw_dtype=tensor.tensor_type,
                              raw_shape=tensor.data.shape)
            continue
        values = np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
        if values.ndim == 2:
            values += rng.normal(size=values.shape).astype(np.float32) * values.std() * noise
        order = orders[int(block[1])]
        values = values[order] if block[2] in ("ffn_gate", "ffn_up") else values
        values = np.ascontiguousarray(values[:, order]) if block[2] == "ffn_down" else values
        name = f"trunk.{layers.index(int(block[1]))}.{_NAMES[block[2]]}.weight"
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
