"""What a request of /v1/videos says, as an order: OpenAI's fields, and vLLM-Omni's larger form. Knows no film but the
order; keeps nothing but the file that came with it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from headwater.api.openai.form import FORM_MAX, chunks, read_form
from headwater.api.openai.tools import Malformed
from headwater.core.errors import BadInput
from headwater.core.types import Staged
from headwater.film import Film
from headwater.film.names import stand_in
from headwater.film.order import PHOTO_MAX, Asked

VIDEO_MAX = 500_000_000
REFERENCE_MAX, LORA_MAX = 4_000, 20_000
_TAKEN = {"prompt", "model", "seconds", "size", "width", "height", "fps", "num_frames", "num_inference_steps",
          "guidance_scale", "seed", "negative_prompt", "camera", "preset", "badge", "people", "user"}
_NUMBERS = ("guidance_scale_2", "boundary_ratio", "flow_shift")
_REFERENCES = ("video_reference", "audio_reference")
_FURTHER = {*_NUMBERS, *_REFERENCES, "lora", "gguf", "precision", "generate_sound", "extra_params"}
"""Fields that only some engines follow; the others say so in the notes."""


async def said_in(request: Request, film: Film,
                  file_field: str = "input_reference") -> tuple[dict[str, Any], Staged | None]:
    """(fields, the file): of a multipart form, or of JSON with a picture as {"image_url": "data:..."}. A picture in
    image_reference stands for one in input_reference. The file is the caller's to drop."""
    file_max = PHOTO_MAX if file_field == "input_reference" else VIDEO_MAX
    if request.headers.get("content-type", "").startswith("application/json"):
        said = await _json(request, PHOTO_MAX * 4 // 3 + FORM_MAX)
        reference = said.pop(file_field, None) if file_field == "input_reference" else None
        file = await asyncio.to_thread(_from_url, film, file_field, reference) if reference is not None else None
    else:
        said, file = await _form(request, film, file_field, file_max)
    if file_field != "input_reference" or said.get("image_reference") in (None, "", [], "[]"):
        said.pop("image_reference", None)
        return said, file
    try:
        if file is not None:
            raise Malformed("image_reference: a picture came as input_reference already; a film begins with one.",
                            "image_reference")
        return said, await asyncio.to_thread(_from_reference, film, said.pop("image_reference"))
    except BaseException:
        drop(file)
        raise


def asked_in(said: dict[str, Any], default: str) -> Asked:
    """The order. default: the model that is meant where a closed one is named. Raises Malformed, naming the field."""
    model, told = stand_in(text_in(said, "model", ""), default)
    if ignored := sorted(set(said) - _TAKEN - _FURTHER):
        told += (f"These fields have no effect: {', '.join(name[:40] for name in ignored[:20])}.",)
    fps, seconds = whole_in(said, "fps"), number_in(said, "seconds")
    if (frames := whole_in(said, "num_frames")) is not None:
        seconds = frames / (fps or 24)
    return Asked(
        prompt=text_in(said, "prompt"), model=model, negative=text_in(said, "negative_prompt", ""), seconds=seconds,
        fps=fps, size=_size(said), steps=whole_in(said, "num_inference_steps"),
        guidance=number_in(said, "guidance_scale"), seed=whole_in(said, "seed"),
        preset=text_in(said, "preset", "") or "normal", camera=_camera(said), badge=text_in(said, "badge", ""),
        more=_more(said), told=told, people=text_in(said, "people", ""))


def text_in(said: dict[str, Any], name: str, default: str | None = None) -> str:
    value = said.get(name, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise Malformed(f"{name}: must be a text.", name)
    return value.replace("\0", "")


def number_in(said: dict[str, Any], name: str) -> float | None:
    value = said.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    if not abs(number) < 1e9:
        raise Malformed(f"{name}: must be a number.", name)
    return number


def whole_in(said: dict[str, Any], name: str) -> int | None:
    value = said.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise Malformed(f"{name}: must be a whole number.", name)
    return int(value)


def drop(file: Staged | None) -> None:
    if file:
        Path(file.path).unlink(missing_ok=True)


async def _form(request: Request, film: Film, field: str, most: int) -> tuple[dict[str, Any], Staged | None]:
    form = await read_form(request, most, "Send a smaller file.")
    try:
        said = {name: value for name, value in form.items() if isinstance(value, str)}
        file = form.get(field)
        if isinstance(file, str) and file:
            raise Malformed(f"{field}: must be a file.", field)
        if not isinstance(file, UploadFile):
            return said, None
        return said, await asyncio.to_thread(film.stage, chunks(file), limit=most)
    finally:
        await form.close()


async def _json(request: Request, limit: int) -> dict[str, Any]:
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BadInput(f"The request has more than {limit:,} bytes.", hint="Send a smaller picture.")
        parts.append(chunk)
    try:
        body = json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        raise Malformed("body: is no JSON.", None) from None
    if not isinstance(body, dict):
        raise Malformed("body: must be an object.", None)
    return body


def _from_reference(film: Film, reference: Any) -> Staged:
    """vLLM-Omni's image_reference: JSON of {"image_url": "data:..."}, or of a list of one."""
    said = _parsed("image_reference", reference)
    if isinstance(said, list):
        if len(said) != 1:
            raise Malformed("image_reference: a film begins with one picture here.", "image_reference")
        said = said[0]
    return _from_url(film, "image_reference", said)


def _from_url(film: Film, field: str, reference: Any) -> Staged:
    url = reference.get("image_url") if isinstance(reference, dict) else reference
    if isinstance(url, dict):
        url = url.get("url")
    match = re.match(r"data:image/[\w.+-]{1,30};base64,", url[:60]) if isinstance(url, str) else None
    if match is None:
        raise Malformed(f"{field}: must be a file, or {{\"image_url\": \"data:image/...;base64,...\"}}; this hub "
                        "fetches no pictures.", field)
    try:
        data = base64.b64decode(url[match.end():], validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"{field}: is not base64.", field) from None
    return film.stage([data], limit=PHOTO_MAX)


def _camera(said: dict[str, Any]) -> dict[str, float]:
    camera = _parsed("camera", said.get("camera") or {})
    if not isinstance(camera, dict) or not all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in camera.values()):
        raise Malformed("camera: must be an object of numbers.", "camera")
    return camera


def _more(said: dict[str, Any]) -> dict[str, Any]:
    """What only some engines follow, by the names core.film.FilmRequest.extra has."""
    further = _parsed("extra_params", said.get("extra_params") or {})
    if not isinstance(further, dict):
        raise Malformed("extra_params: must be an object.", "extra_params")
    if len(json.dumps(further)) > LORA_MAX:
        raise Malformed(f"extra_params: at most {LORA_MAX:,} characters.", "extra_params")
    more: dict[str, Any] = {**{name: value for name, value in further.items() if name not in _FURTHER}}
    said = {**{name: value for name, value in further.items() if name in _FURTHER}, **said}
    for name in _NUMBERS:
        if (number := number_in(said, name)) is not None:
            more[name] = number
    for name in ("lora", "gguf"):
        if said.get(name):
            more[name] = _repos(name, said[name])
    for name in _REFERENCES:
        if said.get(name):
            more[name] = _short(name, said[name], REFERENCE_MAX)
    if said.get("precision"):
        more["precision"] = text_in(said, "precision")[:40]
    if str(said.get("generate_sound", "")).lower() in ("1", "true"):
        more["generate_sound"] = True
    return more


def _repos(name: str, value: Any) -> list[Any]:
    """Repos of the hub, each an object with `repo`, by that name or by vLLM-Omni's (name, path, local_path)."""
    value = _short(name, value, LORA_MAX)
    listed = _parsed(name, value) if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") else value
    found = []
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict) and "repo" not in one:
            one = {**one, "repo": next((one[key] for key in ("name", "path", "local_path") if one.get(key)), None)}
        found.append({key: part for key, part in one.items() if key in ("repo", "revision", "file", "scale", "expert")}
                     if isinstance(one, dict) else one)
    return found


def _short(name: str, value: Any, most: int) -> Any:
    if len(value if isinstance(value, str) else json.dumps(value)) > most:
        raise Malformed(f"{name}: at most {most:,} characters; no engine here takes such a file in the request.", name)
    return value


def _parsed(name: str, value: Any) -> Any:
    """JSON in a field of a form is a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise Malformed(f"{name}: is no JSON.", name) from None


def _size(said: dict[str, Any]) -> tuple[int, int] | None:
    width, height = whole_in(said, "width"), whole_in(said, "height")
    if width is not None and height is not None:
        return width, height
    if width is not None or height is not None:
        raise Malformed("width and height: only together.", "height" if height is None else "width")
    size = text_in(said, "size", "")
    if not size or size == "auto":
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if match is None:
        raise Malformed(f"size: {size[:50]!r} is not like 1280x720.", "size")
    return int(match[1]), int(match[2])
