"""Run where torch is. `plain REPO OUT`: the script somebody would write to make one film with diffusers.
`inside`: what a film's parts cost in bfloat16 and in 32 bits, and words encoded and remembered, as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROUNDS = 3


def plain(repo: str, out: str) -> None:
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.utils import export_to_video

    pipe = DiffusionPipeline.from_pretrained(repo, torch_dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    made = pipe("a red ball", height=64, width=64, num_frames=9, num_inference_steps=3,
                generator=torch.Generator().manual_seed(7))
    export_to_video(made.frames[0], out, fps=8)


def inside() -> dict[str, list[float]]:
    import torch
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    from headwater.film_engines.diffusers.words import WordCache, words_key

    torch.manual_seed(0)
    found: dict[str, list[float]] = {}
    transformer = WanTransformer3DModel(
        num_attention_heads=6, attention_head_dim=64, in_channels=16, out_channels=16, text_dim=512, freq_dim=256,
        ffn_dim=1536, num_layers=12).eval()
    vae = AutoencoderKLWan(base_dim=32).eval()
    for dtype in (torch.float32, torch.bfloat16):
        latents, words = torch.randn(1, 16, 5, 32, 32).to(dtype), torch.randn(1, 64, 512).to(dtype)
        transformer, vae = transformer.to(dtype), vae.to(dtype)
        name, when = str(dtype).removeprefix("torch."), torch.tensor([500])
        found[f"step {name}"] = _times(partial(transformer, latents, when, words, return_dict=False))
        found[f"decode {name}"] = _times(partial(vae.decode, latents[:, :, :2], return_dict=False))
    found["parameters"] = [float(sum(one.numel() for one in transformer.parameters()))]
    encoder = UMT5EncoderModel(UMT5Config(
        vocab_size=32_000, d_model=512, d_kv=64, d_ff=1_024, num_layers=8, num_heads=8,
        feed_forward_proj="gated-gelu")).eval().to(torch.bfloat16)
    ids = torch.arange(512).unsqueeze(0)
    with tempfile.TemporaryDirectory() as folder:
        key = words_key("a red ball", {"text_encoder/model.safetensors": "0" * 64})
        WordCache(Path(folder)).put(key, {"prompt_embeds": encoder(ids).last_hidden_state.detach()})
        found["words encoded"] = _times(lambda: encoder(ids))
        found["words remembered"] = _times(lambda: WordCache(Path(folder)).get(key))
    return found


def _times(work: Callable[[], Any]) -> list[float]:
    """Seconds of this process's own work: what others do beside it does not count."""
    import torch

    with torch.inference_mode():
        work()
        taken = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            work()
            taken.append(time.process_time() - begin)
    return taken


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(*sys.argv[2:])
    else:
        print(json.dumps(inside()))
