"""Two tiny bases trained apart on the same data, a short adapter of each, and the files they would be uploaded as."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
from safetensors.numpy import save

from calibrate import text, tiny
from calibrate.disguise import files_of, made_of

Files = dict[str, bytes]
HF = {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj", "q": "self_attn.q_proj",
      "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj"}
PEFT = "base_model.model.model.layers.{n}.{module}.lora_{half}.weight"
_STEPS, _TUNED, _RANK = 40, 40, 4


@lru_cache(maxsize=1)
def trained() -> tuple[list[tiny.Params], list[tiny.Params]]:
    """(two bases, an adapter of each: "0.gate/a" (rank, in), "0.gate/b" (out, rank))."""
    texts = text.bodies()[1]
    bases, _ = tiny.train([tiny.begin(n) for n in range(2)], tiny.Course(_STEPS, ["source"] * 2, [1] * 2), texts)
    course = tiny.Course(_TUNED, ["english"] * 2, [2] * 2, rate=2e-3, rank=_RANK)
    return bases, tiny.train_adapters(bases, course, texts)


def model_files(params: tiny.Params) -> Files:
    config = {"hidden_size": tiny.WIDTH, "num_attention_heads": tiny.HEADS}
    return files_of(made_of(params, text.bodies()[0])) | {"config.json": json.dumps(config).encode()}


def adapter_files(pairs: tiny.Params, spelling: str = PEFT, dtype: type = np.float32) -> Files:
    tensors = {}
    for name, array in pairs.items():
        number, _, rest = name.partition(".")
        key, _, half = rest.partition("/")
        word = {"a": "down", "b": "up"}[half]
        tensors[spelling.format(n=number, module=HF[key], under=HF[key].replace(".", "_"), half=half.upper(),
                                word=word)] = np.ascontiguousarray(array, dtype)
    return {"adapter_model.safetensors": save(tensors), "adapter_config.json": b'{"peft_type": "LORA"}'}


def merged(base: tiny.Params, *adapters: tuple[tiny.Params, float]) -> tiny.Params:
    found = {name: array.copy() for name, array in base.items()}
    for pairs, scale in adapters:
        for name in {key[:-2] for key in pairs}:
            found[name] += np.float32(scale) * pairs[f"{name}/b"] @ pairs[f"{name}/a"]
    return found
