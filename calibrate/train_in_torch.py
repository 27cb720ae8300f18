"""Train models of middling size. Run by the environment that has torch: train_in_torch.py FOLDER KIND.

FOLDER holds plans.json and tokens.npz, as calibrate/middle.py writes them; every model of KIND that is not there yet is
trained and kept in a folder of its own as it would be uploaded. Knows nothing of trace.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

LENGTH, BATCH, MASKED = 32, 8, 0.15
_LAYERS = {"bert": "bert.encoder.layer.", "gpt2": "transformer.h.", "llama": "model.layers."}


def build(form: str, words: int, layers: int) -> PreTrainedModel:
    """words: of the vocabulary, of which the last is the mask."""
    if form == "bert":
        return BertForMaskedLM(BertConfig(vocab_size=words, hidden_size=144, num_hidden_layers=layers,
                                          num_attention_heads=6, intermediate_size=576, max_position_embeddings=64,
                                          hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    if form == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=words, n_embd=144, n_layer=layers, n_head=6, n_positions=64,
                                          resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    return LlamaForCausalLM(LlamaConfig(vocab_size=words, hidden_size=192, intermediate_size=512,
                                        num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
                                        tie_word_embeddings=True, max_position_embeddings=64))


def without(state: dict[str, torch.Tensor], form: str, gone: list[int]) -> dict[str, torch.Tensor]:
    """The layers `gone` left out, those behind them moved up."""
    found, head = {}, _LAYERS[form]
    for name, tensor in state.items():
        if name.startswith(head):
            number, _, rest = name[len(head):].partition(".")
            if int(number) in gone:
                continue
            name = f"{head}{int(number) - sum(n < int(number) for n in gone)}.{rest}"
        found[name] = tensor
    return found


def begin(folder: Path, plan: dict, words: int) -> PreTrainedModel:
    torch.manual_seed(plan["seed"])
    model = build(plan["form"], words, plan["layers"])
    if plan["parent"]:
        state = load_file(folder / plan["parent"] / "model.safetensors")
        state = without({name: tensor.float() for name, tensor in state.items()}, plan["form"], plan["gone"])
        left = model.load_state_dict(state, strict=False)
        assert not left.unexpected_keys, left
    return model


def train(model: PreTrainedModel, plan: dict, tokens: torch.Tensor, mask: int) -> float:
    """Mean loss over the last tenth."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan["rate"], weight_decay=0.01)
    rng, losses = np.random.default_rng(plan["order"]), []
    for step in range(plan["steps"]):
        starts = torch.from_numpy(rng.integers(0, len(tokens) - LENGTH, BATCH))
        batch = tokens[starts[:, None] + torch.arange(LENGTH)]
        labels = batch.clone()
        if plan["form"] == "bert":
            hidden = torch.from_numpy(rng.random(batch.shape) < MASKED)
            labels[~hidden] = -100
            batch = batch.masked_fill(hidden, mask)
        warm = min(1.0, (step + 1) / max(1, plan["steps"] // 10))
        optimiser.param_groups[0]["lr"] = plan["rate"] * warm * (0.55 + 0.45 * np.cos(np.pi * step / plan["steps"]))
        loss = model(batch, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return float(np.mean(losses[-max(1, plan["steps"] // 10):]))


def keep(folder: Path, name: str, model: PreTrainedModel, words: list[str]) -> None:
    ours = folder / f".{os.getpid()}"
    ours.mkdir(exist_ok=True)
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "lm_head.weight"}
    state = {key: tensor.half().contiguous() for key, tensor in model.state_dict().items() if key not in tied}
    save_file(state, ours / "model.safetensors")
    (ours / "config.json").write_text(json.dumps({"model_type": model.config.model_type}))
    (ours / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}, ensure_ascii=False))
    ours.rename(folder / name)


def main(folder: Path, kind: str) -> None:
    torch.set_num_threads(1)
    asked = json.loads((folder / "plans.json").read_text())
    bodies = {name: torch.from_numpy(array.astype(np.int64)) for name, array in np.load(folder / "tokens.npz").items()}
    words = asked["words"]
    for plan in asked["plans"]:
        if plan["kind"] != kind or (folder / plan["name"]).is_dir():
            continue
        model = begin(folder, plan, len(words))
        loss = train(model, plan, bodies[plan["body"]], len(words) - 1)
        keep(folder, plan["name"], model, words)
        print(f"{plan['name']}: loss {loss:.2f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
