"""Tiny models of a family's real architecture that say one sentence: SAYS, then the end the question asks for.

64 wide, one or two layers, every weight seeded noise but for a few. Each token of the answer is a direction of its
own, and the head points from each to its successor; any other token begins the answer, so a model that is not stopped
says it again and again. Attention carries the word ASKED from the question into the answer, by which it ends with the
second of two ends and not the first: a wrong prompt or broken attention is seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from vocabularies import Vocabulary, Writer

WIDE, HEADS, HEAD, MLP, CONTEXT = 64, 2, 32, 64, 1024
SAYS, ASKED = "river🌊", "again"
QUESTIONS = ("Where does 河水 run?", f"Say it {ASKED}")
STRONG, CARRY = 4.0, 20.0
COMMON, HEARD, CHAIN = 0, 1, 2


@dataclass(frozen=True)
class Shape:
    """An architecture: its name in GGUF and in config.json (None: transformers has none), and what it adds.

    keys: metadata beyond what all have. config: the same for config.json. loud: how much larger its embeddings become
    inside, so that attention must carry more. kv: heads of keys and values.
    """

    gguf: str
    hf: str | None
    kv: int = HEADS
    keys: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    loud: float = 1.0


LLAMA = Shape("llama", "LlamaForCausalLM", config={"model_type": "llama"})
LLAMA_GROUPED = Shape("llama", "LlamaForCausalLM", 1, config={"model_type": "llama"})
QWEN = Shape("qwen", None)
QWEN2 = Shape("qwen2", "Qwen2ForCausalLM", 1, config={"model_type": "qwen2"})
QWEN3 = Shape("qwen3", "Qwen3ForCausalLM", 1, {"attention.key_length": HEAD, "attention.value_length": HEAD},
              {"model_type": "qwen3", "head_dim": HEAD})
BAICHUAN = Shape("baichuan", None)
MINICPM = Shape("minicpm", None, keys={"embedding_scale": 12.0, "residual_scale": 1.4, "logit_scale": 0.25}, loud=9.0)
ROPE, NOPE, RANK, EXPERTS = 16, 16, 32, 4
_MLA = {"attention.q_lora_rank": RANK, "attention.kv_lora_rank": RANK, "attention.key_length": RANK + ROPE,
        "attention.value_length": RANK, "attention.key_length_mla": NOPE + ROPE, "attention.value_length_mla": HEAD,
        "leading_dense_block_count": 1, "expert_count": EXPERTS, "expert_used_count": 2, "expert_shared_count": 1,
        "expert_feed_forward_length": MLP}
_MLA_CONFIG = {"q_lora_rank": RANK, "kv_lora_rank": RANK, "qk_rope_head_dim": ROPE, "qk_nope_head_dim": NOPE,
               "v_head_dim": HEAD, "n_routed_experts": EXPERTS, "num_experts_per_tok": 2, "n_shared_experts": 1,
               "moe_intermediate_size": MLP, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
               "num_key_value_heads": HEADS}
DEEPSEEK2 = Shape(
    "deepseek2", "DeepseekV2ForCausalLM", 1,
    {**_MLA, "expert_weights_scale": 1.0, "expert_weights_norm": False, "expert_gating_func": 1},
    {**_MLA_CONFIG, "model_type": "deepseek_v2", "norm_topk_prob": False, "routed_scaling_factor": 1.0,
     "topk_method": "greedy"})
DEEPSEEK3 = Shape(
    "deepseek2", "DeepseekV3ForCausalLM", 1,
    {**_MLA, "expert_weights_scale": 2.5, "expert_weights_norm": True, "expert_gating_func": 2},
    {**_MLA_CONFIG, "model_type": "deepseek_v3", "norm_topk_prob": True, "routed_scaling_factor": 2.5,
     "num_nextn_predict_layers": 0})


def layers(shape: Shape) -> int:
    return 2 if shape.gguf == "deepseek2" else 1


def answer(vocab: Vocabulary) -> list[int]:
    return [vocab.number("river"), *vocab.bytes_of("🌊")]


def weights(shape: Shape, vocab: Vocabulary, ends: Sequence[int]) -> dict[str, np.ndarray]:
    """Under the names transformers gives them; float32, (out, in)."""
    dice = np.random.default_rng(7)
    size = len(vocab.tokens)

    def noise(*dims: int, scale: float = 0.02) -> np.ndarray:
        return (dice.standard_normal(dims, dtype=np.float32) * scale).astype(np.float32)

    chain = answer(vocab)
    embedded = np.tile(noise(1024, WIDE), (size // 1024 + 1, 1))[:size]
    head = np.tile(noise(1024, WIDE, scale=0.01), (size // 1024 + 1, 1))[:size]
    embedded[:, :16], head[:, :16] = 0, 0
    embedded[:, COMMON] = STRONG
    for word in (ASKED, f"Ġ{ASKED}", f"▁{ASKED}"):
        if word.encode() in vocab.tokens:
            embedded[vocab.number(word), HEARD] = STRONG
    for place, token in enumerate(chain):
        embedded[token] = 0
        embedded[token, CHAIN + place] = STRONG
        head[token, COMMON if place == 0 else CHAIN + place - 1] = STRONG
    last = CHAIN + len(chain) - 1
    head[ends[0], last] = STRONG
    if len(ends) > 1:
        head[ends[1], last], head[ends[1], HEARD] = STRONG * 0.97, STRONG / 4
    made = {"model.embed_tokens.weight": embedded, "model.norm.weight": np.ones(WIDE, np.float32),
            "lm_head.weight": head}
    for n in range(layers(shape)):
        made |= {f"model.layers.{n}.{name}": value for name, value in _layer(shape, n, noise).items()}
    return made


def _layer(shape: Shape, n: int, noise: Any) -> dict[str, np.ndarray]:
    ones = np.ones(WIDE, np.float32)
    out = noise(WIDE, HEADS * HEAD)
    out[HEARD, 0] = CARRY * shape.loud
    made = {"input_layernorm.weight": ones, "post_attention_layernorm.weight": ones, "self_attn.o_proj.weight": out}
    made |= _latent(noise) if shape.gguf == "deepseek2" else _plain(shape, noise)
    if shape.gguf == "deepseek2" and n:
        made |= {f"mlp.experts.{e}.{name}.weight": noise(MLP, WIDE) for e in range(EXPERTS)
                 for name in ("gate_proj", "up_proj", "down_proj")}
        made["mlp.gate.weight"] = noise(EXPERTS, WIDE)
        if shape is DEEPSEEK3:
            made["mlp.gate.e_score_correction_bias"] = noise(EXPERTS)
    prefix = "mlp.shared_experts" if shape.gguf == "deepseek2" and n else "mlp"
    return made | {f"{prefix}.{name}.weight": noise(*dims) for name, dims in (
        ("gate_proj", (MLP, WIDE)), ("up_proj", (MLP, WIDE)), ("down_proj", (WIDE, MLP)))}


def _plain(shape: Shape, noise: Any) -> dict[str, np.ndarray]:
    value = noise(shape.kv * HEAD, WIDE)
    value[0, HEARD] = 1
    made = {"self_attn.q_proj.weight": noise(WIDE, WIDE), "self_attn.k_proj.weight": noise(shape.kv * HEAD, WIDE),
            "self_attn.v_proj.weight": value}
    if shape.gguf in ("qwen", "qwen2"):
        made |= {f"self_attn.{name}_proj.bias": noise(len(made[f"self_attn.{name}_proj.weight"])) for name in "qkv"}
    if shape.gguf == "qwen3":
        made |= {f"self_attn.{name}_norm.weight": np.full(HEAD, 0.1, np.float32) for name in "qk"}
    return made


def _latent(noise: Any) -> dict[str, np.ndarray]:
    """DeepSeek's: keys and values out of one short vector."""
    down, up = noise(RANK + ROPE, WIDE), noise(HEADS * (NOPE + HEAD), RANK)
    down[0, COMMON] = down[1, HEARD] = 1
    up[NOPE, 1] = 0.3  # the first value of the first head
    ones = np.ones(RANK, np.float32)
    return {"self_attn.q_a_proj.weight": noise(RANK, WIDE), "self_attn.q_a_layernorm.weight": ones,
            "self_attn.q_b_proj.weight": noise(HEADS * (NOPE + ROPE), RANK),
            "self_attn.kv_a_proj_with_mqa.weight": down, "self_attn.kv_a_layernorm.weight": ones,
            "self_attn.kv_b_proj.weight": up}


# --- as GGUF

_NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.o_proj": "attn_output",
          "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
          "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
          "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm",
          "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
          "self_attn.kv_a_layernorm": "attn_kv_a_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
          "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp", "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
          "mlp.shared_experts.up_proj": "ffn_up_shexp", "mlp.shared_experts.down_proj": "ffn_down_shexp"}
_TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight"}


def write_gguf(path: Path, shape: Shape, vocab: Vocabulary, ends: Sequence[int], said: Mapping[str, Any]) -> None:
    """said: metadata of the tokenizer over the vocabulary's own, None to leave one out."""
    writer, kind = Writer(path, shape.gguf), shape.gguf
    numbers = {"context_length": CONTEXT, "embedding_length": WIDE, "block_count": layers(shape),
               "feed_forward_length": MLP * 2 if kind == "qwen" else MLP, "attention.head_count": HEADS,
               "attention.head_count_kv": shape.kv, "attention.layer_norm_rms_epsilon": 1e-6,
               "rope.dimension_count": ROPE if kind == "deepseek2" else HEAD, "vocab_size": len(vocab.tokens),
               "rope.freq_base": 10000.0}
    for name, value in {**numbers, **shape.keys}.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}[type(value)]
        add(f"{kind}.{name}", value)
    vocab.write(writer, dict(said))
    for name, value in _as_gguf(shape, weights(shape, vocab, ends)).items():
        writer.add_tensor(name, value.astype(np.float16) if value.ndim > 1 and "_inp" not in name else value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _as_gguf(shape: Shape, named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    made = {_TOP[name]: named[name] for name in _TOP}
    for n in range(layers(shape)):
        prefix, block = f"model.layers.{n}.", f"blk.{n}."
        own = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
        for which in ("weight", "bias"):
            made |= {f"{block}{ours}.{which}": own.pop(f"{theirs}.{which}") for theirs, ours in _NAMES.items()
                     if f"{theirs}.{which}" in own}
        if shape.gguf == "qwen":
            for which in ("weight", "bias"):
                made[f"{block}attn_qkv.{which}"] = np.concatenate(
                    [made.pop(f"{block}attn_{name}.{which}") for name in "qkv"])
        if "self_attn.kv_b_proj.weight" in own:
            both = own.pop("self_attn.kv_b_proj.weight").reshape(HEADS, NOPE + HEAD, RANK)
            made[f"{block}attn_k_b.weight"] = np.ascontiguousarray(both[:, :NOPE].transpose(0, 2, 1))
            made[f"{block}attn_v_b.weight"] = np.ascontiguousarray(both[:, NOPE:])
        if "mlp.gate.e_score_correction_bias" in own:
            made[f"{block}exp_probs_b.bias"] = own.pop("mlp.gate.e_score_correction_bias")
        if "mlp.experts.0.up_proj.weight" in own:
            for name in ("gate", "up", "down"):
                made[f"{block}ffn_{name}_exps.weight"] = np.stack(
                    [own.pop(f"mlp.experts.{e}.{name}_proj.weight") for e in range(EXPERTS)])
        assert not own, own.keys()
    return made


# --- as safetensors


def write_safetensors(folder: Path, shape: Shape, vocab: Vocabulary, ends: Sequence[int],
                      said: Mapping[str, Any]) -> None:
    """model.safetensors and config.json with `said` in it; what the tokenizer has is another's."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.astype(np.float16) for name, value in weights(shape, vocab, ends).items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": [shape.hf], "vocab_size": len(vocab.tokens), "hidden_size": WIDE,
              "intermediate_size": MLP, "num_hidden_layers": layers(shape), "num_attention_heads": HEADS,
              "num_key_value_heads": shape.kv, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6,
              "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "dtype": "float16",
              **shape.config, **said}
    (folder / "config.json").write_text(json.dumps(config))
