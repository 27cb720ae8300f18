"""Sets a photo in motion: heads turn, eyes blink, people breathe, the camera moves with depth. No torch, no GPU.

It bends the photo and generates nothing. Faces are found by the small models of the mediapipe wheel, which lie in the
hub as a repo (`headwater add pypi:mediapipe==0.10.21`); without them, or without a face, camera and brushes remain.
Less is moved where less is sure.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from headwater.core.errors import BadInput
from headwater.core.film import AXES, Capabilities, Estimate, FilmRequest, Normalised, Point, Step
from headwater.film_engines.photo.nets import Nets, lacking
from headwater.film_engines.photo.words import Wish, read_words

MAX_SIDE, MAX_SECONDS = 2_048, 30.0
BRUSHES_MAX = 8
PREVIEW_EVERY = 12
SECONDS_PER_MEGAPIXEL = 0.05
"""Of one frame, one core; what an estimate is made from."""
MODELS = "pypi:mediapipe==0.10.21"


class Photo:
    name = "photo"
    usual = "pypi/mediapipe"

    def available(self) -> str | None:
        from importlib.util import find_spec

        lacks = [name for name, module in (("opencv-python-headless", "cv2"), ("ai-edge-litert", "ai_edge_litert"))
                 if find_spec(module) is None]
        return f"{' and '.join(lacks)} must be installed: pip install 'headwater[film]'" if lacks else None

    def build(self) -> str:
        from importlib.metadata import version

        return (f"photo 1 (opencv {version('opencv-python-headless')}, litert {version('ai-edge-litert')}, "
                f"numpy {np.__version__})")

    def accepts(self, files: tuple[str, ...]) -> str | None:
        lacks = lacking(files)
        return f"it lacks {', '.join(lacks)}" if lacks else None

    def describe(self, folder: Path | None) -> Capabilities:
        return Capabilities(frozenset({"i2v"}), MAX_SECONDS, MAX_SIDE, generates=False, needs_model=False, camera=True,
                            brushes=True, points=folder is not None)

    def normalise(self, request: FilmRequest) -> Normalised:
        if not any(one.role == "first" for one in request.pictures):
            raise BadInput("This engine sets a photo in motion, and there is none.",
                           hint="Give it a photo, or choose a model that makes films from words.")
        if request.seconds > MAX_SECONDS or max(request.width, request.height) > MAX_SIDE:
            raise BadInput(f"At most {MAX_SECONDS:.0f} s and {MAX_SIDE} pixels a side.")
        _check(request)
        wish = read_words(request.prompt)
        camera = {axis: value for axis, value in request.camera.items() if value} or wish.camera
        return Normalised(replace(request, camera=camera), tuple(_notes(request, wish)))

    def estimate(self, request: FilmRequest) -> Estimate:
        megapixels = request.width * request.height / 1e6
        expected = 1 + 1.5 * megapixels + request.frames * SECONDS_PER_MEGAPIXEL * megapixels
        return Estimate(expected, expected / 3, expected * 4, 600_000_000 + int(250e6 * megapixels))

    def points(self, request: FilmRequest) -> dict[str, Point]:
        """Where faces were found in the first picture, for a person to correct: goes back as FilmRequest.points."""
        from headwater.film_engines._still import open_still
        from headwater.film_engines.photo.faces import find_faces, handles
        from headwater.film_engines.photo.still import cleaned

        if request.folder is None:
            return {}
        path = next(one.path for one in request.pictures if one.role == "first")
        photo = open_still(path, (request.width, request.height))
        return handles(find_faces(Nets(request.folder), cleaned(photo), request.points), photo.shape)

    def frames(self, request: FilmRequest, tell: Callable[[Step], None],
               should_stop: Callable[[], bool]) -> Iterator[np.ndarray]:
        import cv2

        from headwater.film_engines.photo.scene import Scene

        cv2.setNumThreads(1)
        tell(Step("read", 0, 1))
        scene = Scene(request, Nets(request.folder) if request.folder else None)
        tell(Step("read", 1, 1))
        total = request.frames
        for number in range(total):
            if should_stop():
                return
            frame = scene.frame(number)
            tell(Step("frames", number + 1, total, _jpeg(frame) if number % PREVIEW_EVERY == 0 else None))
            yield frame


def _check(request: FilmRequest) -> None:
    from headwater.film_engines.photo.faces import check_points

    check_points(request.points or {})
    if len(request.brushes) > BRUSHES_MAX:
        raise BadInput(f"At most {BRUSHES_MAX} brushes.")
    for brush in request.brushes:
        if len(brush.way) == 1 or len(brush.way) > 200 or not all(
                -1 <= value <= 2 for point in brush.way for value in point):
            raise BadInput("A brush's way has 2 to 200 points, in shares of the photo's width and height.")
    for axis in request.camera:
        if axis not in AXES:
            raise BadInput(f"There is no camera axis {axis[:40]!r}.", hint=f"There are: {', '.join(AXES)}.")


def _notes(request: FilmRequest, wish: Wish) -> Iterator[str]:
    if request.folder is None:
        yield f"No face models are in use, so no face moves by itself. Add them with: headwater add {MODELS}"
    if wish.beyond:
        yield f"A photo set in motion cannot show {'; nor '.join(wish.beyond)}: nothing is generated."
    if wish.flows and not any(brush.way for brush in request.brushes):
        yield "Water, clouds and the like move where they are painted with the motion brush."
    if not wish.understood and not wish.beyond and not wish.flows:
        yield "No word names a motion this engine knows, so everything moves gently."
    if any(one.role != "first" for one in request.pictures):
        yield "Last frames and references have no effect here."
    if request.negative or request.steps is not None or request.guidance is not None:
        yield "A negative prompt, steps and guidance have no effect here."


def _jpeg(frame: np.ndarray) -> bytes:
    from PIL import Image

    small = Image.fromarray(frame)
    small.thumbnail((320, 320))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=75)
    return out.getvalue()


ENGINE = Photo()
