"""Fine-tune SmolLM2 for a few steps. Run by the environment that has torch: tune_in_torch.py FOLDER STEPS..."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

LENGTH, RATE, WARM = 96, 5e-4, 4
_HF = {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj", "q": "self_attn.q_proj",
       "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj", "norm1": "input_layernorm",
       "norm2": "post_attention_layernorm"}
_CONFIG = LlamaConfig(vocab_size=49_152, hidden_size=576, intermediate_size=1_536, num_hidden_layers=30,
                      num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True, rms_norm_eps=1e-5,
                      rope_parameters={"rope_type": "default", "rope_theta": 100_000.0})


def interleaved(array: np.ndarray, back: bool) -> np.ndarray:
    """llama.cpp keeps the two halves of each head's turned pairs side by side; transformers one after the other."""
    sides = (-1, 2, 32) if back else (-1, 32, 2)
    return array.reshape(*sides, array.shape[1]).swapaxes(1, 2).reshape(array.shape)


def main(folder: Path, steps: list[int]) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    kept = dict(np.load(folder / "smollm2.npz"))
    tokens = torch.from_numpy(kept.pop("tokens"))
    model = LlamaForCausalLM(_CONFIG)
    places = dict(model.named_parameters())
    whole = {"embed": "model.embed_tokens.weight", "last": "model.norm.weight"}
    names = {key: whole.get(key) or
             f"model.layers.{key.partition('.')[0]}.{_HF[key.partition('.')[2]]}.weight" for key in kept}
    with torch.no_grad():
        for key, array in kept.items():
            turned = interleaved(array, False) if key[-2:] in (".q", ".k") else array
            places[names[key]].copy_(torch.from_numpy(np.ascontiguousarray(turned)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    rng = np.random.default_rng(0)
    for step in range(max(steps) + 1):
        if step in steps:
            save(folder / f"smollm2-tuned-{step}.npz", {key: places[name] for key, name in names.items()})
        start = int(rng.integers(0, len(tokens) - LENGTH))
        batch = tokens[None, start:start + LENGTH]
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / WARM)
        optimiser.step()
        optimiser.zero_grad()
        print(f"step {step}: loss {loss.item():.3f}", flush=True)


def save(file: Path, parameters: dict[str, torch.Tensor]) -> None:
    arrays = {}
    for key, parameter in parameters.items():
        array = parameter.detach().numpy()
        arrays[key] = (interleaved(array, True) if key[-2:] in (".q", ".k") else array).astype(np.float16)
    ours = file.with_name(f".{os.getpid()}.npz")
    np.savez(ours, **arrays)
    ours.rename(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(n) for n in sys.argv[2:]])
