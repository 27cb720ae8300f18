"""OpenAI's /v1/videos, as vLLM-Omni, SGLang, NIM and Headwater serve it. Always multipart, as OpenAI's own clients do.

Beyond OpenAI's fields go vLLM-Omni's names, unless the repo says that its server takes none of them.
"""

from __future__ import annotations

import json
import mimetypes
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.core.errors import EngineFailed
from headwater.core.film import FilmRequest
from headwater.film_engines.remote_videos._api import POLL_S, Seen, Tongue, plain_id, seconds_of
from headwater.film_engines.remote_videos._declared import Declared
from headwater.film_engines.remote_videos._wire import Answer, Wire

LIST_MAX, PAGES_MAX = 100, 5
SAID = ("engine", "build", "revision", "seed", "generates")
"""What another Headwater says of a film it made, as far as it goes into our receipt."""


class OpenAI:
    def __init__(self, declared: Declared, secret: str, wire: Wire):
        self._declared, self._wire, self._tongue = declared, wire, Tongue(declared, secret)
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def mark(self) -> str | None:
        """The newest film there; "" when there is none, None when the server keeps no list."""
        answer = self._ask("GET", "/videos?limit=1&order=desc")
        if answer.status in (404, 405, 501):
            return None
        found = self._tongue.read(answer).get("data")
        return str(found[0].get("id", "")) if isinstance(found, list) and found and isinstance(found[0], dict) else ""

    def order(self, request: FilmRequest, name: str) -> str:
        body, kind = _form(_fields(self._declared, request), _reference(request))
        answer = self._ask("POST", "/videos", body, {"Content-Type": kind, "Idempotency-Key": name})
        return plain_id(self._tongue.read(answer).get("id"), self._tongue.host)

    def lost(self, request: FilmRequest, name: str, mark: Any) -> str | None:
        """The one film newer than the mark that has our words."""
        if mark is None:
            raise self._unsure("it keeps no list of its films")
        after, found = "", []
        for _ in range(PAGES_MAX):
            answer = self._tongue.read(self._ask("GET", f"/videos?limit={LIST_MAX}&order=desc{after}"))
            page = [one for one in answer.get("data") or () if isinstance(one, dict)]
            for one in page:
                if one.get("id") == mark:
                    return self._only(found, request)
                found.append(one)
            if not page or not answer.get("has_more"):
                if mark == "":
                    return self._only(found, request)
                raise self._unsure("its list does not reach back to what was there before")
            after = f"&after={plain_id(page[-1].get('id'), self._tongue.host)}"
        raise self._unsure("too many films were made there since")

    def look(self, number: str, request: FilmRequest) -> Seen:
        answer = self._ask("GET", f"/videos/{number}")
        said, host = self._tongue.read(answer), self._tongue.host
        after = seconds_of(answer.headers.get("openai-poll-after-ms"), POLL_S, scale=0.001)
        status, progress = said.get("status"), said.get("progress")
        percent = int(progress) if isinstance(progress, int | float) and 0 <= progress <= 100 else 0
        if status in ("queued", "in_progress"):
            return Seen("waiting" if status == "queued" else "making", percent, after)
        if status == "completed":
            return Seen("made", 100, said=self._said(said))
        error = said.get("error")
        why = error.get("message") if isinstance(error, dict) else error
        told = self._tongue.words(why or f"its status is {status!r}, and it says no more")
        return Seen("failed", why=f"{host} could not make the film: {told}")

    def withdraw(self, number: str) -> str | None:
        answer = self._ask("DELETE", f"/videos/{number}")
        if 200 <= answer.status < 300 or answer.status == 404:
            return None
        return f"{self._tongue.host} did not call the film back: {answer.status} {self._tongue.of(answer)}"

    def download(self, number: str, seen: Seen, target: Path, most: int, tick: Callable[[int], None]) -> None:
        answer = self._wire.download(f"{self._declared.url}/videos/{number}/content", self._headers, target, most, tick)
        if answer.status != 200:
            self._tongue.refuse(answer)

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        return self._wire.ask(method, self._declared.url + path, {**self._headers, **(headers or {})}, body)

    def _only(self, found: list[dict[str, Any]], request: FilmRequest) -> str | None:
        if any(not isinstance(one.get("prompt"), str) for one in found):
            raise self._unsure("its list does not say the films' words")
        mine = [one for one in found if one["prompt"] == request.prompt]
        if len(mine) > 1:
            raise self._unsure("several films with these words were ordered there")
        return plain_id(mine[0].get("id"), self._tongue.host) if mine else None

    def _unsure(self, why: str) -> EngineFailed:
        return EngineFailed(
            f"{self._tongue.host} may have taken this order, but its answer was lost, and {why}. It is not ordered "
            "again, lest it be paid for twice.", hint="Look there, then order the film again.")

    def _said(self, said: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if isinstance(said.get("model"), str):
            told["model"] = self._tongue.words(said["model"])
        more = said.get("headwater")
        for name in SAID if isinstance(more, dict) else ():
            value = more.get(name)
            if isinstance(value, str):
                told[name] = self._tongue.words(value)
            elif isinstance(value, bool | int) and abs(value) < 2**63:
                told[name] = value
        return told


def _fields(declared: Declared, request: FilmRequest) -> dict[str, str]:
    seconds = f"{request.seconds:g}"
    fields = {"prompt": request.prompt, "model": declared.model, "seconds": seconds,
              "size": f"{request.width}x{request.height}"}
    if not declared.fields:
        return fields
    fields |= {"seed": str(request.seed), "fps": str(request.fps), "num_frames": str(request.frames)}
    further = {"negative_prompt": request.negative if declared.negative else "", "guidance_scale": request.guidance,
               "num_inference_steps": request.steps,
               "camera": json.dumps(request.camera) if declared.camera and any(request.camera.values()) else "",
               "preset": request.preset if request.preset != "normal" else ""}
    fields |= {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in further.items()
               if value not in ("", None)}
    return fields | {name: value if isinstance(value, str) else json.dumps(value)
                     for name, value in request.extra.items() if value is not None}


def _reference(request: FilmRequest) -> Path | None:
    return next((one.path for one in request.pictures if one.role == "first"), None)


def _form(fields: dict[str, str], picture: Path | None) -> tuple[bytes, str]:
    """(body, content type)."""
    edge, parts = secrets.token_hex(16), []
    for name, value in fields.items():
        parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'.encode()
                     + value.encode() + b"\r\n")
    if picture is not None:
        data = picture.read_bytes()
        media, ending = kind_of(data)
        parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="input_reference"; filename="photo{ending}"'
                     f"\r\nContent-Type: {media}\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(parts) + f"--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


def _quoted(name: str) -> str:
    return name.replace("\\", "").replace('"', "%22").replace("\r", "").replace("\n", "")


def kind_of(data: bytes) -> tuple[str, str]:
    """(media type, file ending) of a still by its first bytes."""
    for magic, media in ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif")):
        if data.startswith(magic):
            return media, mimetypes.guess_extension(media) or ""
    return ("image/webp", ".webp") if data[8:12] == b"WEBP" else ("application/octet-stream", "")
