"""A few steps of AdamW on SmolLM2 in bfloat16, as people fine-tune. Run by the environment that has torch:
tune_a_little.py BASE.npz FOLDER. Writes base.safetensors and tuned.safetensors into FOLDER."""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

STEPS, BATCH, LENGTH, RATE = 10, 2, 256, 2e-5
_NAMES = {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj", "q": "self_attn.q_proj",
          "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj", "norm1": "input_layernorm",
          "norm2": "post_attention_layernorm"}
_WHOLE = {"embed": "model.embed_tokens.weight", "last": "model.norm.weight"}
_CONFIG = LlamaConfig(vocab_size=49_152, hidden_size=576, intermediate_size=1_536, num_hidden_layers=30,
                      num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True, rms_norm_eps=1e-5,
                      rope_parameters={"rope_type": "default", "rope_theta": 100_000.0})


def name_of(key: str) -> str:
    layer, _, part = key.partition(".")
    return _WHOLE.get(key) or f"model.layers.{layer}.{_NAMES[part]}.weight"


def turned(array: np.ndarray) -> np.ndarray:
    """From llama.cpp's order of each head's rows to that of transformers."""
    return array.reshape(-1, 32, 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)


def main(source: Path, folder: Path) -> None:
    torch.manual_seed(0)
    kept = dict(np.load(source))
    tokens = torch.from_numpy(kept.pop("tokens"))
    model = LlamaForCausalLM(_CONFIG)
    places = dict(model.named_parameters())
    with torch.no_grad():
        for key, array in kept.items():
            array = turned(array) if key[-2:] in (".q", ".k") else array
            places[name_of(key)].copy_(torch.from_numpy(np.ascontiguousarray(array)).to(torch.bfloat16))
    save(model, folder / "base.safetensors")
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    for step in range(STEPS):
        starts = torch.randint(0, len(tokens) - LENGTH, (BATCH,))
        batch = torch.stack([tokens[start:start + LENGTH] for start in starts])
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        print(f"step {step}: loss {loss.item():.3f}", flush=True)
    save(model, folder / "tuned.safetensors")


def save(model: LlamaForCausalLM, file: Path) -> None:
    from safetensors.torch import save_file

    tensors = {name: p.detach().to(torch.bfloat16).contiguous() for name, p in model.named_parameters()}
    part = file.with_suffix(".part")
    save_file(tensors, part, metadata={"format": "pt"})
    part.rename(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
