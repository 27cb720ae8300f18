"""Memory and work of a film before it is made: from headers of weights, sizes and measured terms. No torch.

A film can be made in three ways, each with less in memory at once than the one before: all parts stay for the next
film ("all"); the text encoder goes once the words are encoded ("words go"); each part goes when it has had its turn,
also of two experts ("in turn"). Which one is taken follows from the memory there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.core.film import FilmRequest
from headwater.film_engines.diffusers.repo import Model, Part

Way = Literal["all", "words go", "in turn"]
WAYS: tuple[Way, ...] = ("all", "words go", "in turn")

BASE = 700 << 20
"""Bytes Python, torch and the libraries hold before a model is loaded."""
SHARD = 1.08
"""What loading takes beside the weights."""
PER_TOKEN = 14
"""Numbers of a block's width kept for each token while it is computed."""
PER_PIXEL = {"Wan": 5_500, "LTX": 700, "CogVideoX": 5_500, "HunyuanVideo": 5_500, "HunyuanVideo 1.5": 5_500}
"""Bytes the autoencoder takes for a pixel and frame of what it decodes at once, at four bytes a number. Wan's is
measured (four frames at once: 22 kB a pixel, at 128 and 192 pixels a side); the others' follow from their widths."""
REORDERED = 0.8
"""Of its weights, what the library that computes convolutions lays out anew beside them; measured with Wan's."""
DECODED = 60
"""Bytes for a pixel of the whole film: as it is decoded, as numbers from 0 to 1, as bytes."""
DECODER_WORK = 0.05
"""Operations for each pixel and frame and weight of the autoencoder."""


@dataclass(frozen=True)
class Needs:
    """Bytes at most in memory, by the way a film is made."""

    ways: dict[Way, int]

    def least(self) -> int:
        return min(self.ways.values())

    def way(self, limit: int) -> Way | None:
        """The first that fits; None when none does."""
        return next((way for way in WAYS if self.ways[way] <= limit), None)


def needs(model: Model, request: FilmRequest, wide: int, vae_wide: int) -> Needs:
    """wide, vae_wide: bytes of a number of the transformer and encoder, and of the autoencoder."""
    encoders = sum(_bytes(part, wide) for part in model.encoders)
    others = sum(_bytes(part, vae_wide) for name, part in model.parts.items() if name in ("vae", "image_encoder"))
    experts = [_bytes(part, 1 if request.extra.get("precision") == "int8" else wide) for part in model.experts]
    denoise, decode = _denoise(model, request, wide), _decode(model, request, vae_wide)
    work = max(denoise, decode)
    return Needs({
        "all": BASE + encoders + sum(experts) + others + work,
        "words go": BASE + others + max(encoders, sum(experts) + work),
        "in turn": BASE + others + max(encoders, max(experts) + denoise, decode)})


def work(model: Model, request: FilmRequest) -> float:
    """Operations in units of 10^12: steps by tokens by weights, attention, and decoding."""
    tokens = model.tokens(request.width, request.height, request.frames)
    weights = max(part.elements for part in model.experts)
    config = model.transformer
    width = int(config.get("num_attention_heads") or 1) * int(config.get("attention_head_dim") or 1)
    layers = int(config.get("num_layers") or config.get("num_single_layers") or 1)
    forward = 2 * weights * tokens + 4 * layers * tokens * tokens * width
    twice = 2 if (request.guidance or 0) > 1 and model.family.negative else 1
    pixels = request.width * request.height * request.frames
    return ((request.steps or 1) * twice * forward + pixels * model.parts["vae"].elements * DECODER_WORK) / 1e12


def _bytes(part: Part, wide: int) -> int:
    if part.files[0].suffix == ".gguf":
        return int(sum(path.stat().st_size for path in part.files) * SHARD)
    return int(part.elements * wide * SHARD)


def _denoise(model: Model, request: FilmRequest, wide: int) -> int:
    config = model.transformer
    width = int(config.get("num_attention_heads") or 1) * int(config.get("attention_head_dim") or 1)
    hidden = int(config.get("ffn_dim") or 4 * width)
    tokens = model.tokens(request.width, request.height, request.frames)
    both = 2 if model.family.batched and (request.guidance or 0) > 1 else 1
    return tokens * both * (PER_TOKEN * width + 2 * hidden) * max(wide, 2) + tokens * 4 * 64


def _decode(model: Model, request: FilmRequest, wide: int) -> int:
    """Decoders go through a film a few frames at a time, or by tiles; LTX's takes it whole."""
    pixels = request.width * request.height
    if model.family.tiled:
        pixels = min(pixels, 256 * 256)
    once = request.frames if model.family.name == "LTX" or model.family.tiled else 4
    scale = min(1.0, model.parts["vae"].elements / 100e6) ** 0.5  # a small one is narrow, too
    layers = pixels * once * PER_PIXEL[model.family.name] * scale * wide / 4
    shown = request.width * request.height * request.frames * DECODED
    return int(layers + model.parts["vae"].elements * wide * REORDERED + shown)
