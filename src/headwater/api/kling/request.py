"""Kling's request as an order (film/order.py). Pictures are bare base64; what has no effect here is told.

Its trajectories are pixels from the bottom left corner; ours are shares from the top left.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput
from headwater.core.film import AXES, Point
from headwater.core.types import Staged
from headwater.film import Film
from headwater.film.callback import check_url
from headwater.film.names import stand_in
from headwater.film.order import Asked

PICTURE_MAX = 10_000_000
PROMPT_MAX = 2_500
MASKS_MAX, POINTS = 6, (2, 77)
SIDE_MIN, RATIO = 300, 2.5
SIZES = {"16:9": (1280, 720), "9:16": (720, 1280), "1:1": (720, 720)}
PRESETS = {"std": "normal", "pro": "best", "4k": "best"}
FORWARD = {"down_back": {"zoom": -5.0}, "forward_up": {"zoom": 5.0}, "right_turn_forward": {"pan": 5.0},
           "left_turn_forward": {"pan": -5.0}}
"""Kling's named moves join two axes; here the camera moves along one."""
TAKEN = {"model_name", "model", "prompt", "negative_prompt", "cfg_scale", "mode", "aspect_ratio", "duration",
         "camera_control", "callback_url", "external_task_id", "image", "image_tail", "static_mask", "dynamic_masks",
         "people"}
EXTEND_TAKEN = {"video_id", "prompt", "negative_prompt", "cfg_scale", "callback_url", "external_task_id", "people"}
EXTENSION_S = 5.0


class Staging:
    """The pictures of a request; `forget` drops those that were received before something else was refused."""

    def __init__(self, film: Film):
        self._film, self._held = film, list[Staged]()

    def picture(self, said: Any, name: str) -> Staged | None:
        """Raises BadInput, naming the field."""
        if said in (None, ""):
            return None
        if not isinstance(said, str):
            raise BadInput(f"{name}: must be a text.")
        if said[:8].lower().startswith(("http://", "https://")):
            raise BadInput(f"{name}: this hub fetches no pictures.", hint="Send the picture itself in base64.")
        if said[:5] == "data:":
            raise BadInput(f"{name}: must be bare base64, without `data:`.")
        if len(said) > PICTURE_MAX * 4 // 3 + 1_000:
            raise BadInput(f"{name}: at most {PICTURE_MAX:,} bytes.")
        try:
            data = base64.b64decode("".join(said.split()), validate=True)
        except (binascii.Error, ValueError):
            raise BadInput(f"{name}: is not base64.") from None
        self._held.append(self._film.stage([data], limit=PICTURE_MAX))
        return self._held[-1]

    def forget(self) -> None:
        for staged in self._held:
            Path(staged.path).unlink(missing_ok=True)


def asked(film: Film, said: dict[str, Any], staging: Staging, with_image: bool) -> tuple[Asked, Staged | None]:
    """(the order, its photo). Raises BadInput, Forbidden."""
    _exclusive(said)
    model, told = stand_in(_text(said, "model_name") or _text(said, "model"), film.settings.film_model)
    photo = staging.picture(said.get("image"), "image") if with_image else None
    last = staging.picture(said.get("image_tail"), "image_tail") if with_image else None
    if with_image and photo is None:
        raise BadInput("image: must be given." if last is None else "image_tail: cannot be used without image here.")
    size = _measure(photo) if photo else None
    told += _told(said, TAKEN)
    mode, ratio = _text(said, "mode") or "std", _text(said, "aspect_ratio")
    if mode not in PRESETS or (ratio and ratio not in SIZES):
        raise BadInput(f"mode: one of {', '.join(PRESETS)}; aspect_ratio: one of {', '.join(SIZES)}.")
    prompt = _words(said)
    if not (prompt or photo):
        raise BadInput(f"prompt: 1 to {PROMPT_MAX:,} characters.")
    return Asked(
        prompt=prompt, model=model, negative=_text(said, "negative_prompt"), seconds=_seconds(said),
        size=None if photo else SIZES[ratio or "16:9"], preset=PRESETS[mode], camera=_camera(said),
        external_id=_external(said), brushes=_brushes(said, staging, size), last=last, callback=_callback(film, said),
        told=told, people=_text(said, "people")), photo


def asked_on(film: Film, said: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(the film that is to go on, what of its order changes). Raises BadInput, Forbidden."""
    film_id, prompt = _text(said, "video_id"), _words(said)
    if not film_id:
        raise BadInput("video_id: must be given.")
    changed = {"seconds": EXTENSION_S, "callback": _callback(film, said), "external_id": _external(said),
               "told": _told(said, EXTEND_TAKEN)}
    if prompt:
        changed["prompt"] = prompt
    if negative := _text(said, "negative_prompt"):
        changed["negative"] = negative
    if people := _text(said, "people"):
        changed["people"] = people
    return film_id, changed


def _told(said: dict[str, Any], taken: set[str]) -> tuple[str, ...]:
    told = ("cfg_scale has no effect.",) if said.get("cfg_scale") is not None else ()
    if ignored := sorted(set(said) - taken):
        told += (f"These fields have no effect: {', '.join(name[:40] for name in ignored[:20])}.",)
    return told


def _words(said: dict[str, Any]) -> str:
    prompt = _text(said, "prompt")
    if len(prompt) > PROMPT_MAX or len(_text(said, "negative_prompt")) > PROMPT_MAX:
        raise BadInput(f"prompt: 1 to {PROMPT_MAX:,} characters.")
    return prompt


def _callback(film: Film, said: dict[str, Any]) -> str:
    callback = _text(said, "callback_url")
    if callback:
        check_url(callback, _hosts(film))
    return callback


def _hosts(film: Film) -> list[str]:
    return [host.strip().lower() for host in film.settings.callback_hosts.split(",") if host.strip()]


def _exclusive(said: dict[str, Any]) -> None:
    ways = [name for name, there in (
        ("image_tail", said.get("image_tail")), ("masks", said.get("static_mask") or said.get("dynamic_masks")),
        ("camera_control", said.get("camera_control"))) if there]
    if len(ways) > 1:
        raise BadInput(f"{' and '.join(ways)} cannot be used together.")


def _measure(photo: Staged) -> tuple[int, int]:
    """Raises BadInput for a picture Kling would not take."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(photo.path) as image:
            width, height = image.size
    except UnidentifiedImageError:  # whose words name the file it lies in
        raise BadInput("image: cannot be read: it is no picture.", hint="Send JPEG or PNG.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"image: cannot be read: {error}.", hint="Send JPEG or PNG.") from None
    if min(width, height) < SIDE_MIN or max(width, height) > RATIO * min(width, height):
        raise BadInput(f"image: {width}x{height}; a side has at least {SIDE_MIN} pixels, and the shape is at most "
                       f"1:{RATIO}.")
    return width, height


def _seconds(said: dict[str, Any]) -> float:
    duration = said.get("duration", "5")
    if isinstance(duration, int) and not isinstance(duration, bool):
        duration = str(duration)
    if not isinstance(duration, str) or not duration.isdecimal() or not 1 <= len(duration) <= 2 \
            or not 3 <= int(duration) <= 15:
        raise BadInput("duration: whole seconds from 3 to 15, as a text.")
    return float(duration)


def _camera(said: dict[str, Any]) -> dict[str, float]:
    control = said.get("camera_control")
    if not control:
        return {}
    if not isinstance(control, dict):
        raise BadInput("camera_control: must be an object.")
    kind, config = control.get("type") or "simple", control.get("config")
    if isinstance(kind, str) and kind in FORWARD:
        return FORWARD[kind]
    if kind != "simple" or not isinstance(config, dict):
        raise BadInput(f"camera_control: type is simple, with a config, or one of {', '.join(FORWARD)}.")
    if not set(config) <= set(AXES) or not all(
            isinstance(v, int | float) and not isinstance(v, bool) and -10 <= v <= 10 for v in config.values()):
        raise BadInput(f"camera_control: config names {', '.join(AXES)}, each from -10 to 10.")
    moved = {axis: float(value) for axis, value in config.items() if value}
    if len(moved) != 1:
        raise BadInput("camera_control: exactly one axis must differ from 0.")
    return moved


def _brushes(said: dict[str, Any], staging: Staging,
             size: tuple[int, int] | None) -> tuple[tuple[Staged, tuple[Point, ...]], ...]:
    """static_mask keeps its part still; each of dynamic_masks moves its part along its way."""
    static, moving = said.get("static_mask"), said.get("dynamic_masks") or []
    if size is None and (static or moving):
        raise BadInput("Masks need an image.")
    if not isinstance(moving, list) or len(moving) > MASKS_MAX or not all(isinstance(one, dict) for one in moving):
        raise BadInput(f"dynamic_masks: at most {MASKS_MAX}, each with mask and trajectories.")
    found: list[tuple[Staged, tuple[Point, ...]]] = []
    if still := staging.picture(static, "static_mask"):
        found.append((still, ()))
    for number, one in enumerate(moving):
        mask = staging.picture(one.get("mask"), f"dynamic_masks[{number}].mask")
        if mask is None or size is None:
            raise BadInput(f"dynamic_masks[{number}].mask: must be given.")
        found.append((mask, _way(one.get("trajectories"), number, size)))
    return tuple(found)


def _way(said: Any, number: int, size: tuple[int, int]) -> tuple[Point, ...]:
    width, height = size
    if not isinstance(said, list) or not POINTS[0] <= len(said) <= POINTS[1] or not all(
            isinstance(point, dict) and all(
                isinstance(point.get(axis), int | float) and not isinstance(point[axis], bool)
                and 0 <= point[axis] <= side for axis, side in (("x", width), ("y", height))) for point in said):
        raise BadInput(f"dynamic_masks[{number}].trajectories: {POINTS[0]} to {POINTS[1]} points {{x, y}} in the "
                       "image, counted from its bottom left corner.")
    return tuple((point["x"] / width, 1 - point["y"] / height) for point in said)


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadInput(f"{name}: must be a text.")
    return value.replace("\0", "").strip()


def _external(said: dict[str, Any]) -> str | None:
    name = _text(said, "external_task_id")
    if len(name) > 100 or not name.isprintable():
        raise BadInput("external_task_id: at most 100 printable characters.")
    return name or None
