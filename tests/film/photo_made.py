"""Requests and scenes of the photo engine over real photos: what its tests share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from real_models import face_nets, photo

from headwater.core.film import FilmRequest, Picture
from headwater.film_engines import FILM_ENGINES
from headwater.film_engines.photo.nets import Nets
from headwater.film_engines.photo.scene import Scene

FPS = 12


@cache
def nets() -> Nets:
    return Nets(face_nets())


def request_of(path: Path, prompt: str = "", *, side: int = 360, seconds: float = 3.0, faces: bool = True,
               size: tuple[int, int] | None = None, **fields: Any) -> FilmRequest:
    """As the engine will run it; of the photo's shape unless size is given."""
    with Image.open(path) as image:
        scale = side / max(image.size)
        width, height = size or (round(image.width * scale) // 2 * 2, round(image.height * scale) // 2 * 2)
    asked = FilmRequest("photo", "i2v", prompt, seconds, FPS, width, height, fields.pop("seed", 5),
                        folder=face_nets() if faces else None, pictures=(Picture("first", path, "0" * 64),), **fields)
    return FILM_ENGINES["photo"].normalise(asked).request


def scene_of(path: Path | str, prompt: str = "", **fields: Any) -> Scene:
    request = request_of(photo(path) if isinstance(path, str) else path, prompt, **fields)
    return Scene(request, nets() if request.folder else None)


def shut_frame(scene: Scene) -> int:
    """The frame in which the first person's eyes are closed most."""
    return int(np.argmax(scene.people[0].curves.blink[:, 0]))


def aged(path: Path, target: Path, width: int = 500) -> Path:
    """The photo as an old print: grey, flat, grainy, yellowed."""
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L").resize((width, round(width * image.height / image.width))), np.float64)
    flat = np.clip(95 + 0.3 * grey + np.random.default_rng(0).normal(0, 13, grey.shape), 0, 255)
    Image.fromarray(np.stack([flat, 0.92 * flat, 0.78 * flat], 2).astype(np.uint8)).save(target)
    return target
