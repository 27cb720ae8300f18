"""Small Llamas of seeded random weights as GGUF in the genuine layout, and what goes beside them: projectors that turn
a picture into vectors (LLaVA's, MiniCPM-V's) and LoRA adapters."""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HEADS, CONTEXT, VIT, PATCH = 2, 4, 1024, 32, 14
LETTERS = "\n abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:?!<>/"
TEMPLATE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}assistant:"
MARKS = ("<unk>", "<s>", "</s>", "<|turn|>", "<|done|>", "<image>", "</image>", "<slice>", "</slice>")
"""The first numbers of every vocabulary made here. llama.cpp knows </s> for an end by its text, and not <|done|>; the
last four are what MiniCPM-V writes around pictures."""
FIRST_BYTE = len(MARKS)
FIRST_LETTER = FIRST_BYTE + 256
WORDS = FIRST_LETTER + len(LETTERS)


def llama_gguf(path: Path, width: int = 128, *, eos: int = 2, bos: int = 1, template: str = TEMPLATE,
               tensors: dict[str, np.ndarray] | None = None, **fields: Any) -> None:
    """Writes a Llama. tensors: weights to take instead of random ones, by name. fields: more metadata."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    spoken = ["\u2581" if letter == " " else letter for letter in LETTERS]
    writer.add_token_list([*MARKS, *(f"<0x{n:02X}>" for n in range(256)), *spoken])
    writer.add_token_scores([0.0] * FIRST_LETTER + [-1.0] * len(LETTERS))
    writer.add_token_types([2] + [3] * (len(MARKS) - 1) + [6] * 256 + [1] * len(LETTERS))
    writer.add_bos_token_id(bos)
    writer.add_eos_token_id(eos)
    writer.add_unk_token_id(0)
    writer.add_chat_template(template)
    for key, value in fields.items():
        writer.add_bool(key, value) if isinstance(value, bool) else writer.add_uint32(key, value)
    shapes = {"token_embd.weight": (WORDS, width), "output_norm.weight": (width,), "output.weight": (WORDS, width)}
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        shapes |= {f"{block}{name}.weight": (width, width) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        shapes |= {f"{block}attn_norm.weight": (width,), f"{block}ffn_norm.weight": (width,),
                   f"{block}ffn_gate.weight": (2 * width, width), f"{block}ffn_up.weight": (2 * width, width),
                   f"{block}ffn_down.weight": (width, 2 * width)}
    _write(writer, shapes, tensors or {})


def says(chain: str, last: int, width: int = 512) -> dict[str, np.ndarray]:
    """Weights of a Llama that says these letters after a colon, one after the other, and then the token `last`, again
    and again: attention and MLP add nothing, and the head points from each token's direction to its successor's."""
    order = [FIRST_LETTER + LETTERS.index(":"), *(FIRST_LETTER + LETTERS.index(letter) for letter in chain), last, last]
    head = np.zeros((WORDS, width), np.float32)
    for one, two in itertools.pairwise(order):
        head[two, one] = 1
    silent = {f"blk.{n}.{name}.weight": np.zeros((width, size), np.float32)
              for n in range(LAYERS) for name, size in (("attn_output", width), ("ffn_down", 2 * width))}
    return {"token_embd.weight": np.eye(WORDS, width, dtype=np.float32), "output.weight": head, **silent}


def lora_gguf(path: Path, width: int = 128, rank: int = 4, *, architecture: str = "llama", seed: str = "",
              strength: float = 1.0) -> None:
    """Writes a LoRA adapter for llama_gguf(width): on every query and value of attention, and on the MLP's way out."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    shapes = {}
    for layer in range(LAYERS):
        for name, wide in (("attn_q", width), ("attn_v", width), ("ffn_down", 2 * width)):
            shapes |= {f"blk.{layer}.{name}.weight.lora_a": (rank, wide),
                       f"blk.{layer}.{name}.weight.lora_b": (width, rank)}
    dice = {name: np.random.default_rng(zlib.crc32((seed + name).encode())).normal(0, strength, shape)
            .astype(np.float32) for name, shape in shapes.items()}
    _write(writer, shapes, dice)


def llava_gguf(path: Path, width: int = 128, side: int = 2 * PATCH) -> None:
    """Writes LLaVA's projector: a vision transformer with a class token, and an MLP of two layers."""
    writer = _clip(path, "mlp", side)
    shapes = _vit(positions=(side // PATCH) ** 2 + 1)
    shapes |= {"v.class_embd": (VIT,), "v.pre_ln.weight": (VIT,), "v.pre_ln.bias": (VIT,),
               "mm.0.weight": (width, VIT), "mm.0.bias": (width,), "mm.2.weight": (width, width),
               "mm.2.bias": (width,)}
    _write(writer, shapes, {})


def minicpmv_gguf(path: Path, width: int = 128, side: int = 4 * PATCH) -> None:
    """Writes MiniCPM-V's projector: a vision transformer with learnt places, and a resampler of 64 queries."""
    writer = _clip(path, "resampler", side)
    writer.add_int32("clip.minicpmv_version", 3)
    writer.add_uint32("clip.minicpmv_query_num", 64)
    shapes = _vit(positions=70 * 70) | {"v.post_ln.weight": (VIT,), "v.post_ln.bias": (VIT,)}
    shapes |= {"resampler.pos_embed_k": (4900, width), "resampler.query": (64, width),
               "resampler.proj.weight": (width, width), "resampler.kv.weight": (width, VIT)}
    for name in ("q", "k", "v", "out"):
        shapes |= {f"resampler.attn.{name}.weight": (width, width), f"resampler.attn.{name}.bias": (width,)}
    for name in ("q", "kv", "post"):
        shapes |= {f"resampler.ln_{name}.weight": (width,), f"resampler.ln_{name}.bias": (width,)}
    _write(writer, shapes, {})


def _clip(path: Path, projector: str, side: int) -> Any:
    import gguf

    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", projector)
    writer.add_bool("clip.use_gelu", True)
    for key, value in {"image_size": side, "patch_size": PATCH, "embedding_length": VIT, "projection_dim": 768,
                       "feed_forward_length": 2 * VIT, "block_count": LAYERS, "attention.head_count": 2}.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.25, 0.25, 0.25])
    return writer


def _vit(positions: int) -> dict[str, tuple[int, ...]]:
    shapes = {"v.patch_embd.weight": (VIT, 3, PATCH, PATCH), "v.position_embd.weight": (positions, VIT)}
    for layer in range(LAYERS):
        block = f"v.blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            shapes |= {f"{block}{name}.weight": (VIT, VIT), f"{block}{name}.bias": (VIT,)}
        shapes |= {f"{block}ffn_up.weight": (2 * VIT, VIT), f"{block}ffn_up.bias": (2 * VIT,),
                   f"{block}ffn_down.weight": (VIT, 2 * VIT), f"{block}ffn_down.bias": (VIT,)}
        for name in ("ln1", "ln2"):
            shapes |= {f"{block}{name}.weight": (VIT,), f"{block}{name}.bias": (VIT,)}
    return shapes


def _write(writer: Any, shapes: dict[str, tuple[int, ...]], given: dict[str, np.ndarray]) -> None:
    for name, shape in shapes.items():
        dice = np.random.default_rng(zlib.crc32(name.encode()))
        norm = "norm" in name or "ln" in name.split(".")[-2]
        values = np.ones(shape) if norm and name.endswith("weight") else dice.normal(0, 0.3, shape)
        values = given.get(name, values)
        assert values.shape == shape, (name, values.shape, shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
