"""Kling's API: text2video and image2video, asked with a token signed by a key pair. It knows no cancelling.

Every order carries our name for it (external_task_id), which Kling takes once: so an order whose answer was lost is
found again by that name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headwater.core.errors import EngineFailed
from headwater.core.film import AXES, FilmRequest
from headwater.film_engines.remote_videos._api import POLL_S, Later, Seen, Tongue, plain_id
from headwater.film_engines.remote_videos._declared import Declared
from headwater.film_engines.remote_videos._wire import Answer, Lost, Wire

TOKEN_S, EARLIER_S = 1_800, 5
NOT_FOUND = (1203,)
LATER = (1302, 1303, 5001)
"""Codes of "too fast", "too many at once" and "not available now"."""
NEVER = (1100, 1101, 1102, 1304)
"""Codes that come as 429 and do not pass: an account in arrears or used up, an address that is not admitted."""


class Kling:
    def __init__(self, declared: Declared, secret: str, wire: Wire):
        self._declared, self._wire, self._tongue = declared, wire, Tongue(declared, secret)
        self._access, _, self._secret = secret.partition(":")

    def mark(self) -> None:
        return None

    def order(self, request: FilmRequest, name: str) -> str:
        said = self._ask("POST", _path(request), _body(self._declared, request, name))
        return plain_id(said.get("task_id"), self._tongue.host)

    def lost(self, request: FilmRequest, name: str, mark: Any) -> str | None:
        try:
            said = self._ask("GET", f"{_path(request)}/{quote(name, safe='')}")
        except _Missing:
            return None
        return plain_id(said.get("task_id"), self._tongue.host)

    def look(self, number: str, request: FilmRequest) -> Seen:
        try:
            said = self._ask("GET", f"{_path(request)}/{number}")
        except _Missing as error:
            raise EngineFailed(str(error)) from None
        status = said.get("task_status")
        if status in ("submitted", "processing"):
            return Seen("waiting" if status == "submitted" else "making", 0, POLL_S)
        if status != "succeed":
            why = said.get("task_status_msg") or f"its status is {status!r}, and it says no more"
            return Seen("failed", why=f"{self._tongue.host} could not make the film: {self._tongue.words(why)}")
        result = said.get("task_result")
        videos = result.get("videos") if isinstance(result, dict) else None
        url = videos[0].get("url") if isinstance(videos, list) and videos and isinstance(videos[0], dict) else None
        if not isinstance(url, str):
            return Seen("failed", why=f"{self._tongue.host} says it made the film, but not where it is.")
        return Seen("made", 100, said={"model": self._declared.model, "url": url})

    def withdraw(self, number: str) -> str | None:
        return f"{self._tongue.host} cannot call a film back: it goes on being made there, and may be paid for."

    def download(self, number: str, seen: Seen, target: Path, most: int, tick: Callable[[int], None]) -> None:
        answer = self._wire.download(seen.said["url"], {}, target, most, tick)  # its address needs no key
        if answer.status != 200:
            self._tongue.refuse(answer)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The `data` of an answer. Raises Later, Lost, _Missing, EngineFailed, BadInput."""
        headers = {"Authorization": f"Bearer {token(self._access, self._secret, time.time())}"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        answer = self._wire.ask(method, self._declared.url + path, headers, data)
        said = self._read(answer)
        found = said.get("data")
        if not isinstance(found, dict):
            raise Lost(f"{self._tongue.host} answered without saying anything of the task.")
        return found

    def _read(self, answer: Answer) -> dict[str, Any]:
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = None
        code = said.get("code") if isinstance(said, dict) else None
        if code in NOT_FOUND or (answer.status == 404 and code is not None):
            raise _Missing(f"{self._tongue.host}: {self._tongue.of(answer)}")
        if code in LATER:
            raise Later(f"{self._tongue.host}: {self._tongue.of(answer)}", 5.0)
        if code in NEVER or (code not in (None, 0) and answer.status < 400):
            raise EngineFailed(f"{self._tongue.host} refused ({code}): {self._tongue.of(answer)}")
        return self._tongue.read(answer)


class _Missing(Exception):
    pass


def token(access: str, secret: str, now: float) -> str:
    """A JSON web token as Kling's documentation has it: HS256, iss, exp half an hour on, nbf a little back."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"iss": access, "exp": int(now) + TOKEN_S, "nbf": int(now) - EARLIER_S}]
    signed = ".".join(_text(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{_text(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _path(request: FilmRequest) -> str:
    return "/v1/videos/" + ("text2video" if request.kind == "t2v" else "image2video")


def _body(declared: Declared, request: FilmRequest, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model_name": declared.model, "prompt": request.prompt, "duration": f"{request.seconds:g}",
        "mode": "pro" if request.preset == "best" else "std", "external_task_id": name}
    if request.negative and declared.negative:
        body["negative_prompt"] = request.negative
    pictures = {one.role: one.path for one in request.pictures}
    if request.kind == "t2v":
        body["aspect_ratio"] = _ratio(request)
    else:
        body["image"] = _bare(pictures["first"])
    if "last" in pictures:
        body["image_tail"] = _bare(pictures["last"])
    if any(request.camera.values()):
        body["camera_control"] = {"type": "simple", "config": {axis: request.camera.get(axis, 0) for axis in AXES}}
    return body | _masks(request)


def _masks(request: FilmRequest) -> dict[str, Any]:
    """The painted parts. Kling counts a way's points in the photo's pixels, from its bottom left corner."""
    if not request.brushes:
        return {}
    from PIL import Image

    with Image.open(next(one.path for one in request.pictures if one.role == "first")) as image:
        width, height = image.size
    moving = [{"mask": _bare(one.mask), "trajectories": [
        {"x": round(x * width), "y": round((1 - y) * height)} for x, y in one.way]}
        for one in request.brushes if one.way]
    still = next((_bare(one.mask) for one in request.brushes if not one.way), None)
    return ({"dynamic_masks": moving} if moving else {}) | ({"static_mask": still} if still else {})


def _ratio(request: FilmRequest) -> str:
    ratios = {"16:9": 16 / 9, "9:16": 9 / 16, "1:1": 1.0}
    shape = request.width / request.height
    return min(ratios, key=lambda name: max(ratios[name] / shape, shape / ratios[name]))


def _bare(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
