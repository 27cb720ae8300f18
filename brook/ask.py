"""Ask the exported repo for the films of cases.py, as anybody would: by diffusers' pipelines and the repo's film.json.

    python -m brook.ask REPO OUT.npz        run by the environment that has torch

OUT holds uint8 films in the order of the cases, and the seconds they took. `both` keeps what an autoencoder makes of
the true films.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, WanImageToVideoPipeline
from PIL import Image

from brook.autoencoder import to_model
from brook.cases import COUNTS, Case, cases

AT_ONCE = 10


def load(repo: Path) -> tuple[DiffusionPipeline, WanImageToVideoPipeline, dict[str, Any]]:
    """(from words, from a photo, how it is called): bfloat16, the autoencoder in 32 bits, as Headwater's engine."""
    pipeline = DiffusionPipeline.from_pretrained(repo, torch_dtype=torch.bfloat16)
    pipeline.vae.to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    photo = WanImageToVideoPipeline(**pipeline.components, image_encoder=None, image_processor=None,
                                    expand_timesteps=True)
    photo.set_progress_bar_config(disable=True)
    said = json.loads((repo / "film.json").read_text())
    return pipeline, photo, {"height": said["height"], "width": said["width"], "num_frames": said["frames"],
                             "num_inference_steps": said["steps"], "guidance_scale": said["guidance"]}


def films(pipeline: Any, call: dict[str, Any], asked: list[Case]) -> np.ndarray:
    chance = [torch.Generator().manual_seed(case.seed) for case in asked]
    photo = {"image": Image.fromarray(asked[0].film[0])} if asked[0].kind == "from a photo" else {}
    with torch.no_grad():
        made = pipeline(prompt=[case.prompt for case in asked], generator=chance, output_type="np", **photo, **call)
    return (np.asarray(made.frames) * 255).round().clip(0, 255).astype(np.uint8)


@torch.no_grad()
def both(vae: Any, true: np.ndarray) -> np.ndarray:
    """uint8 (films, frames, height, width, 3) through the autoencoder and back."""
    back = vae.decode(vae.encode(to_model(true)).latent_dist.mode()).sample
    return ((back.permute(0, 2, 3, 4, 1) + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def main(repo: Path, out: Path, counts: dict[str, int] = COUNTS) -> None:
    words, photo, call = load(repo)
    every = list(cases(counts))
    made, began = [], time.monotonic()
    for kind in counts:
        ours = [case for case in every if case.kind == kind]
        once = 1 if kind == "from a photo" else AT_ONCE  # that pipeline takes one photo at a time
        for start in range(0, len(ours), once):
            made.append(films(photo if once == 1 else words, call, ours[start:start + once]))
            done = sum(map(len, made))
            print(f"{done} of {len(every)} films, {(time.monotonic() - began) / done:.1f} s each", flush=True)
    spent = time.monotonic() - began
    held = np.stack([case.film for case in every if case.kind == "held out"][:64])
    kept = np.concatenate([both(words.vae, held[n:n + 8]) for n in range(0, len(held), 8)])
    np.savez(out, films=np.concatenate(made), seconds=spent / len(every), again=kept)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
