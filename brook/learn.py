"""Train all parts of brook, one after the other, each from where it was stopped; then write the repo.

    python -m brook.learn FOLDER            train; a part that is done is not done again
    python -m brook.learn FOLDER REPO       write what was trained as a repo that diffusers loads
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan

from brook import autoencoder, denoiser
from brook.export import export


def learn(folder: Path) -> None:
    log = folder / "log.jsonl"
    if not (folder / "vae").exists():
        autoencoder.train(folder, log, autoencoder.BOTH, autoencoder.fresh()).save_pretrained(folder / "vae")
    model = AutoencoderKLWan.from_pretrained(folder / "vae").eval()
    denoiser.shards(model, folder)
    print(f"{denoiser.MOST * denoiser.SHARD:,} films are drawn and encoded", flush=True)
    denoiser.train(folder, log)
    autoencoder.train(folder, log, autoencoder.DECODER, model)


def write(folder: Path, repo: Path) -> None:
    """From the checkpoints, with the mean of the weights; of a run that is not through as well."""
    model = AutoencoderKLWan.from_pretrained(folder / "vae")
    _take(model, folder / "decoder.pt" if (folder / "decoder.pt").exists() else folder / "autoencoder.pt")
    spoken = denoiser.Spoken()
    _take(spoken, folder / "denoiser.pt")
    export(model.eval(), spoken.eval(), repo)


def _take(module: torch.nn.Module, kept: Path) -> None:
    state = torch.load(kept, weights_only=True)
    module.load_state_dict({**state["module"], **state["mean"]})


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 2:
        write(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        learn(Path(sys.argv[1]))
