"""Put each kind of adapter on two small layers with peft or LyCORIS, and keep the files and what they merge to.

Run by hand, from this folder, where torch, transformers, safetensors, peft 0.21 and lycoris-lora 4.1 are. Writes, for
each KIND, KIND.safetensors as it is saved, KIND.json its adapter_config (PEFT's), KIND.merged.safetensors what the
package itself merges; base.safetensors and base_gpt2.safetensors (stored as (in, out)) are what they are put on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

HERE = Path(__file__).parent


class Block(torch.nn.Module):
    """Names as models have them."""

    def __init__(self, conv: bool) -> None:
        super().__init__()
        part = torch.nn.Module()
        if conv:
            part.c_fc, part.c_proj = Conv1D(48, 32), Conv1D(32, 48)
        else:
            part.up_proj, part.down_proj = (torch.nn.Linear(a, b, bias=False) for a, b in ((32, 48), (48, 32)))
        self.mlp = part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Model(torch.nn.Module):
    def __init__(self, conv: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = torch.nn.ModuleList([Block(conv)])
        self.lm_head = torch.nn.Linear(32, 40, bias=False)
        self.config = {"model_type": "tiny"}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def matrices(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().to(torch.float16).contiguous() for name, value in state.items()
            if value.ndim == 2 and "mlp" in name}


def moved(model: torch.nn.Module) -> None:
    """As if it had been trained: no half is left at zero."""
    generator = torch.Generator().manual_seed(2)
    for name, value in model.named_parameters():
        if value.requires_grad:
            value.data += 0.1 * torch.randn(value.shape, generator=generator) * (0.1 if "lm_head" in name else 1)


def peft(kind: str, config: object, conv: bool = False) -> None:
    model = get_peft_model(Model(conv), config)
    moved(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        shutil.copy(f"{folder}/adapter_model.safetensors", HERE / f"{kind}.safetensors")
        told = json.loads(Path(folder, "adapter_config.json").read_text())
    (HERE / f"{kind}.json").write_text(json.dumps({name: told[name] for name in sorted(told) if told[name]}) + "\n")
    save_file(matrices(model.merge_and_unload().state_dict()), str(HERE / f"{kind}.merged.safetensors"))


def lycoris(kind: str, algorithm: str, **told: object) -> None:
    from lycoris import LycorisNetwork, create_lycoris

    LycorisNetwork.apply_preset({"target_name": [".*up_proj", ".*down_proj"]})
    model = Model()
    network = create_lycoris(model, 1.0, linear_dim=4, linear_alpha=2, algo=algorithm, **told)
    network.apply_to()
    moved(network)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()},
              str(HERE / f"{kind}.safetensors"))
    network.restore()
    network.merge_to(1.0)
    save_file(matrices(model.state_dict()), str(HERE / f"{kind}.merged.safetensors"))


def main() -> None:
    targets = ["up_proj", "down_proj"]
    save_file({name: value for name, value in Model().state_dict().items() if value.ndim == 2},
              str(HERE / "base.safetensors"))
    save_file(matrices(Model(True).state_dict()), str(HERE / "base_gpt2.safetensors"))
    peft("dora", LoraConfig(r=4, lora_alpha=6, use_dora=True, target_modules=targets, modules_to_save=["lm_head"]))
    peft("dora_rslora", LoraConfig(r=4, lora_alpha=6, use_dora=True, use_rslora=True, target_modules=targets))
    peft("loha", LoHaConfig(r=3, alpha=6, target_modules=targets))
    peft("lokr", LoKrConfig(r=2, alpha=6, target_modules=targets))
    peft("lokr_both", LoKrConfig(r=2, alpha=6, decompose_both=True, target_modules=targets))
    peft("lokr_full", LoKrConfig(r=100, alpha=100, target_modules=targets))
    peft("lora_gpt2", LoraConfig(r=4, lora_alpha=6, fan_in_fan_out=True, target_modules=["c_fc", "c_proj"]), True)
    lycoris("lycoris_loha", "loha")
    lycoris("lycoris_lokr", "lokr", factor=4)
    lycoris("lycoris_dora", "lora", dora_wd=True)


if __name__ == "__main__":
    main()
