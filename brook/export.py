"""From what was trained to a repo that diffusers loads: parts in bfloat16, one file each, and film.json.

The same folder is a WanPipeline (words) and a WanImageToVideoPipeline (a photo): expand_timesteps is what Wan 2.2 TI2V
has. The card is card.py's. Runs in the environment that has torch.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

from brook import FPS, FRAMES, SIDE
from brook.denoiser import SHIFT, Spoken

VERSION = "2"
"""Of the weights: a hub that has this one is not given it again."""
STEPS, GUIDANCE = 12, 4.0
BESIDE = ("README.md", "log.jsonl")
"""Files of the repo that are written by other hands."""


def export(autoencoder: AutoencoderKLWan, spoken: Spoken, folder: Path) -> None:
    """Write the repo into `folder`; what stood there goes, but the files of BESIDE."""
    kept = {name: (folder / name).read_bytes() for name in BESIDE if (folder / name).exists()}
    shutil.rmtree(folder, ignore_errors=True)
    for block in spoken.transformer.blocks:
        block.attn1.processor = block.attn2.processor = WanAttnProcessor()
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT)
    pipeline = WanPipeline(spoken.words, spoken.text, autoencoder, scheduler, spoken.transformer,
                           expand_timesteps=True)
    for part in (pipeline.text_encoder, pipeline.transformer, pipeline.vae):
        part.to(torch.bfloat16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    _name_the_tokenizer(folder)
    film = {"version": VERSION, "width": SIDE, "height": SIDE, "frames": FRAMES, "fps": FPS,
            "steps": STEPS, "guidance": GUIDANCE, "flow_shift": SHIFT}
    (folder / "film.json").write_text(json.dumps(film, indent=2) + "\n")
    for name, content in kept.items():
        (folder / name).write_bytes(content)


def _name_the_tokenizer(folder: Path) -> None:
    """By the name every version of transformers knows; version 5 calls the same class TokenizersBackend."""
    for file in (folder / "model_index.json", folder / "tokenizer" / "tokenizer_config.json"):
        file.write_text(file.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))
