"""A small BERT of random weights as GGUF, in the genuine layout: what makes embeddings, or ranks documents."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

WIDTH, LAYERS, HEADS, CONTEXT = 32, 2, 4, 128
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,"
WHOLE = ("the", "sea", "river", "hill", "runs", "high", "is", *LETTERS)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"\u2581{word}" for word in WHOLE), *LETTERS]
SPECIAL = {"padding": 0, "unknown": 1, "cls": 2, "seperator": 3, "mask": 4, "bos": 2, "eos": 3}
"""By the names GGUF has for them, its own spelling of one included."""


def bert_gguf(path: Path, *, ranks: bool = False) -> Path:
    """Writes it. ranks: a reranker, with one score a pair, instead of a mean over the tokens."""
    import gguf

    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("tiny bert")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(4 * WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK if ranks else gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(WORDS)
    writer.add_token_types([3] * 5 + [1] * (len(WORDS) - 5))
    writer.add_token_type_count(2)
    for name, token in SPECIAL.items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)
    for name, shape in _shapes(ranks).items():
        dice = np.random.default_rng(zlib.crc32(name.encode()))
        values = np.ones(shape) if name.endswith("norm.weight") else dice.normal(0, 0.3, shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes(ranks: bool) -> dict[str, tuple[int, ...]]:
    shapes = {"token_embd.weight": (len(WORDS), WIDTH), "position_embd.weight": (CONTEXT, WIDTH),
              "token_types.weight": (2, WIDTH), "token_embd_norm.weight": (WIDTH,), "token_embd_norm.bias": (WIDTH,)}
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes |= {f"{block}{name}.weight": (WIDTH, WIDTH), f"{block}{name}.bias": (WIDTH,)}
        shapes |= {f"{block}ffn_up.weight": (4 * WIDTH, WIDTH), f"{block}ffn_up.bias": (4 * WIDTH,),
                   f"{block}ffn_down.weight": (WIDTH, 4 * WIDTH), f"{block}ffn_down.bias": (WIDTH,)}
        for name in ("attn_output_norm", "layer_output_norm"):
            shapes |= {f"{block}{name}.weight": (WIDTH,), f"{block}{name}.bias": (WIDTH,)}
    if ranks:
        shapes |= {"cls.weight": (WIDTH, WIDTH), "cls.bias": (WIDTH,), "cls.output.weight": (1, WIDTH),
                   "cls.output.bias": (1,)}
    return shapes
