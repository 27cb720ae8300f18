"""The autoencoder: AutoencoderKLWan in the layout of Wan 2.2 (residual, pixels taken two by two), small.

A film of 17 x 64 x 64 becomes 5 x 8 x 8 places of 16 numbers; the first place in time is the first frame alone, so a
photo is encoded as a film of one frame. Trained on crops, then on whole films. Runs in the environment with torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanResample, WanResidualBlock, patchify

from brook import world
from brook.course import Course, run, seeded

LATENT = 16
CONFIG = {"base_dim": 32, "dim_mult": [1, 2, 2], "temperal_downsample": [True, True], "num_res_blocks": 1,
          "is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "z_dim": LATENT,
          "scale_factor_spatial": 8, "scale_factor_temporal": 4, "latents_mean": [0.0] * LATENT,
          "latents_std": [1.0] * LATENT}
BOTH = Course("autoencoder", 1500, 1e-3, warm=20, decay=0.0)
DECODER = Course("decoder", 5000, 1e-3, warm=20, decay=0.0, mean=0.999)
"""First both halves, then the decoder alone: from there on the latents are fixed, and the denoiser may begin."""
SEED, BATCH, KL, CONSTANT = 1, 6, 1e-4, 8.0


def fresh() -> AutoencoderKLWan:
    """As it is before training: mean colours already pass from end to end, detail does not.

    Left to chance, brightness came through after 900 steps and colour never did: the last norm of either half keeps
    directions and no sizes. So one channel is a large constant, which makes the norm a plain division, and each colour
    stands beside its negative, since silu(a) - silu(-a) = a. All other ways begin small.
    """
    torch.manual_seed(SEED)
    model = AutoencoderKLWan(**CONFIG)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, torch.nn.Conv2d | torch.nn.Conv3d):
                torch.nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
                torch.nn.init.zeros_(part.bias)
        for part in model.modules():
            if isinstance(part, WanResidualBlock):
                part.conv2.weight.mul_(0.1)
            elif isinstance(part, WanAttentionBlock):
                part.proj.weight.mul_(0.1)
            elif isinstance(part, WanResample):
                part.resample[1].weight.mul_(0.03)
        _pass_colours_in(model.encoder)
        _pass_colours_out(model.decoder)
        model.quant_conv.weight.zero_()
        for n in range(LATENT):
            model.quant_conv.weight[n, n] = 1
        model.quant_conv.bias[LATENT:] = -6  # almost without noise
        model.post_quant_conv.weight.zero_()
        for n in range(LATENT):
            model.post_quant_conv.weight[n, n] = 1
    return model


def _pass_colours_in(encoder: torch.nn.Module) -> None:
    """Twelve numbers of two by two pixels and their negatives, then the constant; the shortcuts take means of them and
    keep two halves in time. The first six latents are red, green and blue of either half."""
    encoder.conv_in.weight.mul_(0.1)
    for n in range(12):
        encoder.conv_in.weight[n, n, -1, 1, 1] = 1
        encoder.conv_in.weight[12 + n, n, -1, 1, 1] = -1
    encoder.conv_in.bias[31] = CONSTANT
    encoder.conv_out.weight.mul_(0.3)
    encoder.conv_out.weight[:6] = 0
    for half in range(2):
        for n in range(12):
            for sign in (0, 1):
                encoder.conv_out.weight[3 * half + n // 4, 2 * (12 * sign + n) + half, -1, 1, 1] = 0.5 - sign


def _pass_colours_out(decoder: torch.nn.Module) -> None:
    decoder.conv_in.weight.mul_(0.1)
    decoder.conv_in.bias[63] = CONSTANT
    last = decoder.up_blocks[-1].resnets[0].conv_shortcut
    last.weight.mul_(0.1)
    last.weight[31] = 0
    last.weight[31, 63] = 1
    decoder.conv_out.weight.mul_(0.1)
    for colour in range(3):
        for sign in (0, 1):
            for half in range(2):
                decoder.conv_in.weight[6 * sign + 3 * half + colour, 3 * half + colour, -1, 1, 1] = 0.5 - sign
                last.weight[3 * sign + colour, 6 * sign + 3 * half + colour] = 0.5
            decoder.conv_out.weight[4 * colour:4 * colour + 4, 3 * sign + colour, -1, 1, 1] = 1 - 2 * sign


def decode(model: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """As the class decodes, still in its two-by-two pixels and not cut to -1..1, where there is no gradient."""
    model.clear_cache()
    inner = model.post_quant_conv(latents)
    out = []
    for n in range(latents.shape[2]):
        model._conv_idx = [0]
        out.append(model.decoder(inner[:, :, n:n + 1], feat_cache=model._feat_map, feat_idx=model._conv_idx,
                                 first_chunk=n == 0))
    model.clear_cache()
    return torch.cat(out, 2)


def to_model(films: np.ndarray) -> torch.Tensor:
    """uint8 (films, frames, height, width, 3) to float32 (films, 3, frames, height, width), -1 to 1."""
    return torch.from_numpy(films).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def batch(step: int) -> np.ndarray:
    """Crops of 5 or 9 frames by 32 pixels with something in them, at times a whole film. Any colour with any shape is
    seen here, since the autoencoder learns no words."""
    rng = np.random.default_rng([SEED, step])
    if step % 8 == 7:
        return world.film(world.scene(rng, None), rng)[None]
    frames, out = 9 if step % 3 == 2 else 5, []
    for _ in range(BATCH // 2):
        film = world.film(world.scene(rng, None), rng)
        out.extend([_crop(film, rng, frames), _crop(film, rng, frames)])
    return np.stack(out)


def _crop(film: np.ndarray, rng: np.random.Generator, frames: int) -> np.ndarray:
    start = int(rng.integers(0, len(film) - frames + 1))
    film = film[start:start + frames]
    places = rng.integers(0, film.shape[1] - 31, (4, 2))
    crops = [film[:, y:y + 32, x:x + 32] for y, x in places]
    return max(crops, key=lambda crop: float(crop[4].std(axis=(0, 1)).sum()) * rng.uniform(0.5, 1))


def train(folder: Path, log: Path, course: Course, model: AutoencoderKLWan,
          stop_after: int | None = None) -> AutoencoderKLWan:
    """Trained. The encoder learns only in BOTH; after it, mean and deviation of the latents are in the config."""
    alone = course.name == DECODER.name
    model.requires_grad_(not alone)
    model.decoder.requires_grad_(True)
    model.post_quant_conv.requires_grad_(True)

    def loss_of(step: int) -> tuple[torch.Tensor, Mapping[str, float]]:
        pixels = to_model(batch(step + 10_000 * alone))
        wanted = patchify(pixels, 2)
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(not alone):
            mean, spread = model._encode(pixels).float().chunk(2, 1)
        spread = spread.clamp(-30, 10)
        noise = torch.randn(mean.shape, generator=seeded(SEED, step))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = decode(model, mean + noise * torch.exp(spread / 2))
        ground = wanted.median(-1, keepdim=True).values.median(-2, keepdim=True).values
        weight = 1 + 3 * ((wanted - ground).abs().amax(1, keepdim=True) > 0.05)
        error = made.float() - wanted
        kl = 0.5 * (mean ** 2 + spread.exp() - 1 - spread).mean()
        loss = (weight * (error.abs() / 2 + 2 * error ** 2)).mean() + KL * kl
        return loss, {"psnr": float(10 * torch.log10(4 / error.detach().pow(2).mean())), "kl": float(kl.detach())}

    mean = run(course, model, loss_of, folder, log, stop_after)
    model.load_state_dict({**model.state_dict(), **mean})
    return (model if alone else scaled(model)).eval()


@torch.no_grad()
def scaled(model: AutoencoderKLWan) -> AutoencoderKLWan:
    """Write mean and deviation of each of the numbers of a latent into the config, as Wan's own has them."""
    rng = np.random.default_rng([SEED, 77])
    films = np.stack([world.film(world.scene(rng), rng) for _ in range(48)])
    latents = encode(model, films)
    model.register_to_config(latents_mean=latents.mean((0, 2, 3, 4)).tolist(),
                             latents_std=latents.std((0, 2, 3, 4)).tolist())
    return model


@torch.no_grad()
def encode(model: AutoencoderKLWan, films: np.ndarray) -> torch.Tensor:
    """float32 (films, 16, 5, 8, 8): the likeliest latents, not yet scaled."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return model._encode(to_model(films)).float()[:, :LATENT]
