"""A picture of latents without the autoencoder: a linear map to RGB, fitted once for each autoencoder.

The map is the least-squares answer to what the autoencoder makes of seeded pictures; latents of all families here are
near enough to linear in colour for a preview (docs/design/024-diffusers.md has the figures).
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from headwater.film_engines.diffusers.repo import Model

PICTURES, LATENTS = 3, 12
"""Pictures the map is fitted to, and latents a side of each."""
SIDE = 320


def fit(model: Model, vae: Any, kept: Path | None) -> np.ndarray:
    """float32 (channels + 1, 3): RGB from 0 to 1 = latents @ map[:-1] + map[-1]. kept: a file it is read from, and
    written to when it is not there."""
    if kept is not None and kept.is_file():
        with contextlib.suppress(ValueError, OSError):
            found = np.array(json.loads(kept.read_text()), np.float32)
            if found.ndim == 2 and found.shape[1] == 3:
                return found
    import torch

    side = model.spatial * LATENTS
    pictures = _pictures(side)
    shown = torch.from_numpy(pictures).permute(0, 3, 1, 2).unsqueeze(2) * 2 - 1  # (n, 3, 1, side, side)
    with torch.no_grad():
        latents = torch.cat([_encoded(vae, one.unsqueeze(0)) for one in shown])
    latents = normal(model, vae, latents)[:, :, 0].permute(0, 2, 3, 1).numpy()  # (n, h, w, channels)
    small = pictures.reshape(PICTURES, LATENTS, model.spatial, LATENTS, model.spatial, 3).mean((2, 4))
    rows = np.concatenate([latents.reshape(-1, latents.shape[-1]), np.ones((latents[..., 0].size, 1))], 1)
    answer = np.linalg.lstsq(rows, small.reshape(-1, 3), rcond=1e-3)[0].astype(np.float32)
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(answer.tolist()))
    return answer


def jpeg(latents: np.ndarray, answer: np.ndarray) -> bytes | None:
    """latents: float32 (channels, frames, height, width), as the pipeline has them. The frame in the middle; None when
    the map is of other latents."""
    from PIL import Image

    if latents.shape[0] + 1 != answer.shape[0]:
        return None
    middle = latents[:, latents.shape[1] // 2].transpose(1, 2, 0)
    with np.errstate(all="ignore"):
        seen = np.nan_to_num(np.clip(middle @ answer[:-1] + answer[-1], 0, 1))
    picture = Image.fromarray((seen * 255).astype(np.uint8))
    scale = SIDE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=75)
    return out.getvalue()


def normal(model: Model, vae: Any, latents: Any) -> Any:
    """Latents of the autoencoder as the transformer sees them."""
    import torch

    latents, spread = latents.float(), []
    for name in ("latents_mean", "latents_std"):  # of some in the config, of others among the weights
        value = getattr(vae.config, name, None)
        value = getattr(vae, name, None) if value is None else value
        if value is not None:
            spread.append(torch.as_tensor(value).float().cpu().view(1, -1, 1, 1, 1))
    if len(spread) == 2:
        latents = (latents - spread[0]) / spread[1]
    scale = getattr(vae.config, "scaling_factor", None)
    return latents if model.family.name == "Wan" else latents * float(scale or 1.0)


def _encoded(vae: Any, picture: Any) -> Any:
    made = vae.encode(picture.to(vae.device, vae.dtype), return_dict=False)[0]
    return (made.mode() if hasattr(made, "mode") else made).float().cpu()


def _pictures(side: int) -> np.ndarray:
    """float32 (PICTURES, side, side, 3), from 0 to 1: ramps and soft blobs of all colours."""
    draw = np.random.default_rng(0)
    y, x = (part.astype(np.float32) / side for part in np.ogrid[0:side, 0:side])
    made = []
    for _ in range(PICTURES):
        corners = draw.uniform(0, 1, (2, 2, 3))
        picture = ((1 - y) * (1 - x))[..., None] * corners[0, 0] + ((1 - y) * x)[..., None] * corners[0, 1] + (
            y * (1 - x))[..., None] * corners[1, 0] + (y * x)[..., None] * corners[1, 1]
        for _ in range(10):
            cx, cy, wide = draw.uniform(0, 1), draw.uniform(0, 1), draw.uniform(0.05, 0.2)
            share = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * wide * wide))[..., None]
            picture = (1 - share) * picture + share * draw.uniform(0, 1, 3)
        made.append(picture)
    return np.stack(made).astype(np.float32)
