"""The camera moves over a still picture: no model, any photo, no part of it moves by itself.

What a film falls back to where nothing is found in a photo that could move. The camera goes along one axis with an
eased start and end; the picture is never left (no black borders), which bounds how far it goes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headwater.core.errors import BadInput
from headwater.core.film import AXES, Capabilities, Estimate, FilmRequest, Normalised, Step
from headwater.film_engines._still import open_still

if TYPE_CHECKING:
    from PIL.Image import Image

MARGIN = 0.16
"""Share of the picture kept in hand on each side for the camera to move into, at strength 10."""
DEFAULT = {"zoom": 4.0}
MAX_SIDE, MAX_SECONDS = 2_048, 30.0
PREVIEW_EVERY = 12
SECONDS_PER_MEGAPIXEL = 0.03
"""Of one frame, one core; what an estimate is made from."""

_WORDS = (
    (r"zoom(s|ing)? out|pull(s|ing)? (back|out)|拉远|后退", ("zoom", -6.0)),
    (r"zoom(s|ing)?|push(es|ing)? in|closer|拉近|推近|放大", ("zoom", 6.0)),
    (r"(to the|pans?|move[sd]?) left|向左|左移", ("horizontal", -6.0)),
    (r"(to the|pans?|move[sd]?) right|向右|右移", ("horizontal", 6.0)),
    (r"(tilts?|moves?|pans?) up|向上|上移", ("vertical", 6.0)),
    (r"(tilts?|moves?|pans?) down|向下|下移", ("vertical", -6.0)),
    (r"rolls?|rotat(e|es|ing)|旋转", ("roll", 4.0)),
)


class Plain:
    name = "plain"
    usual = ""

    def available(self) -> str | None:
        return None

    def build(self) -> str:
        import PIL

        return f"plain 2 (Pillow {PIL.__version__})"

    def accepts(self, files: tuple[str, ...]) -> str | None:
        return "the plain engine needs no model"

    def describe(self, folder: Path | None) -> Capabilities:
        return Capabilities(frozenset({"i2v"}), MAX_SECONDS, MAX_SIDE, generates=False, needs_model=False, camera=True)

    def normalise(self, request: FilmRequest) -> Normalised:
        if not any(one.role == "first" for one in request.pictures):
            raise BadInput("The plain engine moves a camera over a picture, and there is none.",
                           hint="Give it a photo, or choose a model that makes films from words.")
        if request.seconds > MAX_SECONDS or max(request.width, request.height) > MAX_SIDE:
            raise BadInput(f"At most {MAX_SECONDS:.0f} s and {MAX_SIDE} pixels a side.")
        notes = []
        camera = {axis: value for axis, value in request.camera.items() if value}
        if not camera:
            camera, followed = _camera_of(request.prompt)
            if request.prompt and not followed:
                notes.append("The words name no camera move, so the camera comes slowly closer.")
        if request.brushes or any(one.role != "first" for one in request.pictures):
            notes.append("Brushes, last frames and references have no effect here.")
        return Normalised(replace(request, camera=camera), tuple(notes))

    def estimate(self, request: FilmRequest) -> Estimate:
        each = SECONDS_PER_MEGAPIXEL * request.width * request.height / 1e6
        expected = request.frames * each + 0.5
        return Estimate(expected, expected / 3, expected * 4, 200_000_000)

    def frames(self, request: FilmRequest, tell: Callable[[Step], None],
               should_stop: Callable[[], bool]) -> Iterator[np.ndarray]:
        from PIL import Image

        path = next(one.path for one in request.pictures if one.role == "first")
        picture = Image.fromarray(open_still(path, (request.width, request.height), 1 - 2 * MARGIN))
        total = request.frames
        (axis, strength), = request.camera.items()
        for number in range(total):
            if should_stop():
                return
            box = _window(axis, strength, _ease(number / max(1, total - 1)), request, picture.size)
            frame = picture.transform((request.width, request.height), Image.Transform.PERSPECTIVE, box,
                                      Image.Resampling.BICUBIC)
            tell(Step("frames", number + 1, total, _jpeg(frame) if number % PREVIEW_EVERY == 0 else None))
            yield np.asarray(frame)


def _camera_of(prompt: str) -> tuple[dict[str, float], bool]:
    for pattern, (axis, value) in _WORDS:
        if re.search(pattern, prompt, re.I):
            return {axis: value}, True
    return dict(DEFAULT), False


def _window(axis: str, strength: float, t: float, request: FilmRequest, size: tuple[int, int]) -> tuple[float, ...]:
    """Coefficients of PIL's perspective transform (output pixel to input pixel) at the time t, 0 to 1.

    The camera goes from -half its way to +half of it, so the middle of the film shows the middle of the photo.
    """
    if axis not in AXES:
        raise BadInput(f"There is no camera axis {axis!r}.", hint=f"There are: {', '.join(AXES)}.")
    way = MARGIN * max(-10.0, min(10.0, strength)) / 10
    move = way * (2 * t - 1)
    fill = min(size[0] / request.width, size[1] / request.height)  # the largest window of the film's shape
    scale = fill * (1 - 2 * abs(way))
    turn = 0.0
    centre = [size[0] / 2, size[1] / 2]
    if axis == "zoom":
        scale = fill * (1 - abs(way) - move)
    elif axis == "roll":
        turn = move
        scale = fill * (1 - 2 * abs(way)) / (1 + abs(way))
    elif axis in ("horizontal", "pan"):
        centre[0] += move * request.width * fill
    else:
        centre[1] -= move * request.height * fill
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    half = (request.width / 2, request.height / 2)
    lean = 0.6 * move / request.width if axis == "pan" else 0.0
    nod = -0.6 * move / request.height if axis == "tilt" else 0.0
    a = np.array([[cos, -sin, centre[0]], [sin, cos, centre[1]], [lean, nod, 1.0]])
    a = a @ np.array([[1, 0, -half[0]], [0, 1, -half[1]], [0, 0, 1.0]])
    return tuple((a / a[2, 2]).ravel()[:8])


def _ease(t: float) -> float:
    return t * t * (3 - 2 * t)


def _jpeg(frame: Image) -> bytes:
    small = frame.copy()
    small.thumbnail((320, 320))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=75)
    return out.getvalue()


ENGINE = Plain()
