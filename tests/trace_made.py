"""Small models made for the tests of trace: random Llamas, what may be done to them, and files of every format."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import gguf
import numpy as np
import safetensors.numpy
from gguf.quants import quantize

from headwater.trace.fingerprint import Fingerprint
from headwater.trace.make import make_fingerprint
from headwater.weights.source import FileSource


@dataclass
class Made:
    """embed: (vocabulary, d). layers: gate, up (f, d), down (d, f), q, o (d, d), k, v (d / 2, d), norm1, norm2 (d)."""

    words: list[str]
    embed: np.ndarray
    layers: list[dict[str, np.ndarray]]
    head: np.ndarray | None = None
    extra: dict[str, np.ndarray] = field(default_factory=dict)


def words(count: int, seed: int = 0) -> list[str]:
    """Different words of letters, half of them beginning with a space mark."""
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        text = "".join(chr(97 + c) for c in rng.integers(0, 26, rng.integers(3, 9)))
        found["Ġ" + text if len(found) % 2 else text] = None
    return list(found)


def made(seed: int, *, d: int = 96, f: int = 256, layers: int = 4, vocabulary: int = 3000) -> Made:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    def layer() -> dict[str, np.ndarray]:
        return {"gate": draw(f, d), "up": draw(f, d), "down": draw(d, f), "q": draw(d, d), "k": draw(d // 2, d),
                "v": draw(d // 2, d), "o": draw(d, d), "norm1": 1 + draw(d), "norm2": 1 + draw(d)}

    return Made(words(vocabulary), draw(vocabulary, d) + draw(d), [layer() for _ in range(layers)])


def rotated(model: Made, seed: int = 1) -> Made:
    """The stream turned by a random rotation, gains folded into the matrices that follow them."""
    d = model.embed.shape[1]
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0].astype(np.float32)
    return replace(model, embed=model.embed @ turn, head=None if model.head is None else model.head @ turn,
                   layers=[_turned(layer, turn) for layer in model.layers])


def _turned(layer: dict[str, np.ndarray], turn: np.ndarray) -> dict[str, np.ndarray]:
    one = np.ones_like(layer["norm1"])
    new = {name: (layer[name] * layer[gain]) @ turn
           for name, gain in zip(["q", "k", "v", "gate", "up"], ["norm1"] * 3 + ["norm2"] * 2, strict=True)}
    return new | {"down": turn.T @ layer["down"], "o": turn.T @ layer["o"], "norm1": one, "norm2": one}


def permuted(model: Made, seed: int = 2) -> Made:
    """Neurons shuffled in every layer, and half of them with up and down of the other sign."""
    rng = np.random.default_rng(seed)

    def one(layer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        order = rng.permutation(len(layer["gate"]))
        sign = rng.choice([-1, 1], len(order)).astype(np.float32)
        return layer | {"gate": layer["gate"][order], "up": layer["up"][order] * sign[:, None],
                        "down": layer["down"][:, order] * sign}

    return replace(model, layers=[one(layer) for layer in model.layers])


def noisy(model: Made, share: float, seed: int = 3) -> Made:
    rng = np.random.default_rng(seed)

    def blur(a: np.ndarray) -> np.ndarray:
        return a if a.ndim == 1 else a + rng.normal(size=a.shape).astype(np.float32) * a.std() * share

    return replace(model, embed=blur(model.embed), layers=[{n: blur(a) for n, a in y.items()} for y in model.layers])


_HF = {"gate": "mlp.gate_proj.weight", "up": "mlp.up_proj.weight", "down": "mlp.down_proj.weight",
       "q": "self_attn.q_proj.weight", "k": "self_attn.k_proj.weight", "v": "self_attn.v_proj.weight",
       "o": "self_attn.o_proj.weight", "norm1": "input_layernorm.weight", "norm2": "post_attention_layernorm.weight"}
_GGUF = {"gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down", "q": "attn_q", "k": "attn_k", "v": "attn_v",
         "o": "attn_output", "norm1": "attn_norm", "norm2": "ffn_norm"}


def hf_tensors(model: Made) -> dict[str, np.ndarray]:
    tensors = {"model.embed_tokens.weight": model.embed, "model.norm.weight": np.ones(model.embed.shape[1], np.float32)}
    if model.head is not None:
        tensors["lm_head.weight"] = model.head
    for number, layer in enumerate(model.layers):
        tensors |= {f"model.layers.{number}.{_HF[name]}": array for name, array in layer.items()}
    return tensors | model.extra


def save(folder: Path, tensors: dict[str, np.ndarray], vocabulary: list[str], dtype: type = np.float16) -> Path:
    """model.safetensors and vocab.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {name: np.ascontiguousarray(array, dtype) for name, array in tensors.items()}
    safetensors.numpy.save_file(data, folder / "model.safetensors")
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(vocabulary)}, ensure_ascii=False))
    return folder


def save_hf(folder: Path, model: Made, dtype: type = np.float16) -> Path:
    return save(folder, hf_tensors(model), model.words, dtype)


def save_gguf(folder: Path, model: Made, quantisation: str = "Q4_0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kind = gguf.GGMLQuantizationType[quantisation]
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_token_list(model.words)
    tensors = {"token_embd.weight": model.embed}
    for number, layer in enumerate(model.layers):
        tensors |= {f"blk.{number}.{_GGUF[name]}.weight": array for name, array in layer.items()}
    for name, array in tensors.items():
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, quantize(np.ascontiguousarray(array), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def print_of(folder: Path) -> Fingerprint:
    """The fingerprint of the model whose files lie in `folder`, read back from its bytes."""
    files = {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    made_now = make_fingerprint(lambda path: FileSource(folder / path), files)
    return Fingerprint.from_bytes(made_now.to_bytes())
