"""The form of a film, read as an order. Knows its fields and what the scripts of the page add to them; makes nothing.

What is painted comes as fields of text, since the pictures are made in the page: `mask1` to `mask6` are PNGs as data
addresses, `way1` to `way6` the ways they take ("x,y x,y", shares of width and height), `still` the part that keeps
still, `points` corrected landmarks as JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any

from headwater.core.errors import BadInput
from headwater.core.film import Point
from headwater.core.types import Staged
from headwater.film import Film
from headwater.film.order import Asked
from headwater.web.pages._film import forget

AREAS = 6
WAY = (2, 77)
MASK_MAX = 2_000_000
PNG = "data:image/png;base64,"


def asked_of(film: Film, said: dict[str, str], last: Staged | None = None) -> Asked:
    """The order, with its masks staged and `last`, the picture to end with: forget() them when it is not given to
    order(). Raises BadInput, naming the field; `last` is then the caller's still."""
    axis, strength = said.get("axis", ""), _number(said, "strength") or 0.0
    width, cross, height = said.get("size", "").partition("x")
    if cross and not (width.isdigit() and height.isdigit() and len(width + height) < 10):
        raise BadInput("size: is not like 1280x720.")
    fps, steps = _number(said, "fps"), _number(said, "steps")
    if fps is not None and fps != int(fps):
        raise BadInput("fps: must be a whole number.")
    if steps is not None and not (steps == int(steps) and 1 <= steps <= 500):
        raise BadInput("steps: a whole number from 1 to 500.")
    return Asked(
        prompt=said.get("prompt", "").strip(), model=said.get("model", ""), negative=said.get("negative", "").strip(),
        seconds=_number(said, "seconds"), fps=int(fps) if fps is not None else None,
        size=(int(width), int(height)) if cross else None, seed=_seed(said),
        steps=int(steps) if steps is not None else None, guidance=_number(said, "guidance"),
        preset=said.get("preset") or "normal", camera={axis: strength} if axis else {}, points=_points(said),
        badge=said.get("badge", ""), more=_parts(said), last=last, brushes=_brushes(film, said))


def changes_of(said: dict[str, str]) -> dict[str, Any]:
    """What a form changes of an order that waits, by the names of Asked: only the fields it has. Raises BadInput."""
    found: dict[str, Any] = {name: said[name].replace("\0", "").strip() for name in ("prompt", "negative", "preset")
                             if name in said}
    if said.get("seconds", "").strip():
        found["seconds"] = _number(said, "seconds")
    if (seed := _seed(said)) is not None:
        found["seed"] = seed
    return found


def _seed(said: dict[str, str]) -> int | None:
    text = said.get("seed", "").strip()
    if text and not (text.isdecimal() and len(text) < 20):
        raise BadInput("seed: must be a whole number.")
    return int(text) if text else None


def _parts(said: dict[str, str]) -> dict[str, Any]:
    """LoRAs as a line tells them, by commas: owner/name[/file], how strong, for which expert."""
    found = []
    for one in said.get("lora", "").split(","):
        name, *more = one.split() or [""]
        owner, _, rest = name.partition("/")
        repo, _, file = rest.partition("/")
        expert = [word for word in more if word in ("high", "low", "both")]
        scales = [word for word in more if word not in expert]
        if len(scales) > 1 or len(expert) > 1:
            raise BadInput(f"lora: {one.strip()[:100]!r} is not like owner/name 0.8.")
        if name:
            found.append({"repo": f"{owner}/{repo}", "scale": _number({"lora": scales[0]}, "lora") if scales else 1.0,
                          **({"file": file} if file else {}), **({"expert": expert[0]} if expert else {})})
    return {"lora": found} if found else {}


def _brushes(film: Film, said: dict[str, str]) -> tuple[tuple[Staged, tuple[Point, ...]], ...]:
    painted = [(name, _way(said, number)) for number in range(1, AREAS + 1) if said.get(name := f"mask{number}")]
    if said.get("still"):
        painted.append(("still", ()))
    masks = [_png(said[name], name) for name, _ in painted]
    made: list[tuple[Staged, tuple[Point, ...]]] = []
    try:
        for mask, (_, way) in zip(masks, painted, strict=True):
            made.append((film.stage([mask], limit=MASK_MAX), way))
    except BaseException:
        forget(*(mask for mask, _ in made))
        raise
    return tuple(made)


def _png(text: str, name: str) -> bytes:
    try:
        if not text.startswith(PNG) or len(text) > MASK_MAX:
            raise ValueError
        return base64.b64decode(text[len(PNG):], validate=True)
    except (ValueError, binascii.Error):
        raise BadInput(f"{name}: is no painted area.", hint="Paint it again.") from None


def _way(said: dict[str, str], number: int) -> tuple[Point, ...]:
    """Empty where none was drawn: the area then keeps still, as the plan says."""
    name = f"way{number}"
    try:
        way = tuple((float(x), float(y)) for x, _, y in (one.partition(",") for one in said.get(name, "").split()))
    except ValueError:
        raise BadInput(f"{name}: points are like 0.1,0.2 0.3,0.4.") from None
    if way and not (WAY[0] <= len(way) <= WAY[1] and all(0 <= value <= 1 for point in way for value in point)):
        raise BadInput(f"{name}: a way has {WAY[0]} to {WAY[1]} points within the photo.")
    return way


def _points(said: dict[str, str]) -> dict[str, Point] | None:
    if not said.get("points"):
        return None
    try:
        found = json.loads(said["points"])
        points = {str(name): (float(x), float(y)) for name, (x, y) in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BadInput("points: are not like {\"face1.nose\": [0.5, 0.5]}.") from None
    return points or None


def _number(said: dict[str, Any], name: str) -> float | None:
    text = str(said.get(name, "")).strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < 1e6:
        raise BadInput(f"{name}: must be a number.")
    return number
