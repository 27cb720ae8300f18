"""/v1/videos: films in the form of OpenAI's Videos API, whose own clients always send multipart. Thin over film/.

Fields of vLLM-Omni's larger form (width, num_frames, seed, ...) are taken too. A status a client does not know would
end its polling, so a cancelled film is `failed` with the code "cancelled".
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.datastructures import UploadFile

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.form import FORM_MAX, chunks, read_form
from headwater.api.openai.tools import Malformed
from headwater.api.person import need_person
from headwater.core.errors import BadInput, Conflict, NotBuilt, NotFound
from headwater.core.types import Access, Account, Actor, KeptFilm, Staged
from headwater.film import Film
from headwater.film.make import preview_path
from headwater.film.names import stand_in
from headwater.film.order import PHOTO_MAX, Asked, again, cancel, delete, find, job_of, order, settled
from headwater.film.recall import recall

router = APIRouter(prefix="/v1/videos", tags=["OpenAI"])
VIDEO_MAX = 500_000_000
POLL_MS = 700
STATES = {"queued": "queued", "running": "in_progress", "done": "completed", "failed": "failed", "cancelled": "failed"}
VARIANTS = {"video": ("video", "video/mp4"), "thumbnail": ("poster", "image/webp"),
            "spritesheet": ("sheet", "image/webp")}
_FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string"}, "model": {"type": "string"}, "seconds": {"type": "string"},
        "size": {"type": "string", "example": "1280x720"},
        "input_reference": {"type": "string", "format": "binary"}}}}}}}


@router.post("", openapi_extra=_FORM)
async def create_video(request: Request, actor: ActorDep) -> Response:
    """Order a film from words, or from a picture (input_reference). seconds, size, seed, width, height, fps,
    num_frames, num_inference_steps, guidance_scale, negative_prompt, camera (JSON) and preset may be said; what has
    no effect is told in `headwater.notes`."""
    account, film = need_person(actor, Access.WRITE), get_app(request).film
    said, photo = await _said(request, film)
    asked, told = _asked(said, film.settings.film_model)
    kept = await asyncio.to_thread(_order, film, actor, account, asked, photo, told)
    return _answer(film, kept)


@router.get("")
def list_videos(
    request: Request, actor: ActorDep, limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc", after: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """Your films. after: the id of the last one of the page before."""
    account, film = need_person(actor), get_app(request).film
    if after is not None and not after.isprintable():
        raise NotFound("No film of that id to go on after.")
    found, more = film.films.page(account.id, after=after, limit=limit, newest_first=order == "desc")
    data = [_shown(film, settled(film, kept)) for kept in found]
    return {"object": "list", "data": data, "has_more": more, "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None}


@router.post("/edits")
@router.post("/extensions")
async def change_video(request: Request, actor: ActorDep) -> Response:
    """edits: a film made again with another prompt; video is {"id": ...}, or the film's file, which is recognised.
    extensions: refused, with the reason."""
    account, film = need_person(actor, Access.WRITE), get_app(request).film
    said, file = await _said(request, film, "video")
    kept = await asyncio.to_thread(_source, film, account, said, file)
    if request.url.path.endswith("/extensions"):
        raise NotBuilt(f"The engine {kept.asked['engine']} cannot go on where a film ended.",
                       hint="Order a longer film.")
    return _answer(film, await asyncio.to_thread(again, film, actor, account, kept, prompt=_text(said, "prompt")))


@router.post("/characters")
@router.get("/characters/{name}")
def characters(name: str = "") -> None:
    """501: no engine here keeps characters."""
    raise NotBuilt("No engine here keeps characters.", hint="Give a picture of them as input_reference.")


@router.get("/{video_id}")
def get_video(video_id: str, request: Request, actor: ActorDep) -> Response:
    """Where it stands: queued, in_progress with its progress in percent, completed, failed."""
    film = get_app(request).film
    return _answer(film, find(film, need_person(actor), video_id))


@router.delete("/{video_id}")
def delete_video(video_id: str, request: Request, actor: ActorDep) -> dict[str, Any]:
    """Forget a film; one under way is cancelled."""
    account, film = need_person(actor, Access.WRITE), get_app(request).film
    kept = find(film, account, video_id)
    delete(film, account, kept)
    return {"id": kept.id, "object": "video.deleted", "deleted": True}


@router.post("/{video_id}/cancel")
def cancel_video(video_id: str, request: Request, actor: ActorDep) -> Response:
    """Headwater's own: stop the work and keep the order. 409 when there is nothing to stop."""
    film = get_app(request).film
    return _answer(film, cancel(film, find(film, need_person(actor, Access.WRITE), video_id)))


@router.post("/{video_id}/remix")
async def remix_video(video_id: str, request: Request, actor: ActorDep) -> Response:
    """The same film by another prompt, or with the same prompt by a new seed."""
    account, film = need_person(actor, Access.WRITE), get_app(request).film
    said, photo = await _said(request, film)
    _forget(photo)
    kept = await asyncio.to_thread(find, film, account, video_id)
    changed: dict[str, Any] = {"prompt": _text(said, "prompt")} if said.get("prompt") else {}
    if said.get("seed") not in (None, ""):
        changed["seed"] = _whole(said, "seed")
    return _answer(film, await asyncio.to_thread(lambda: again(film, actor, account, kept, **changed)))


@router.get("/{video_id}/content")
def video_content(
    video_id: str, request: Request, actor: ActorDep, variant: Literal["video", "thumbnail", "spritesheet"] = "video",
) -> Response:
    """The MP4, one picture of it, or twenty in a sheet. 409 until it is made."""
    account, film = need_person(actor), get_app(request).film
    kept = find(film, account, video_id)
    which, media_type = VARIANTS[variant]
    file = film.files.get(account.id, getattr(kept, which) or "")
    if file is None:
        raise Conflict(f"The film is not made: it is {kept.state}.", hint="Ask again when its status is completed.")
    headers = {"Cache-Control": "private, max-age=3600", "ETag": f'"{file.digest}"',
               "Content-Security-Policy": "default-src 'none'; sandbox",
               "Content-Disposition": f'inline; filename="{file.name}"'}
    if path := film.blobs.path(file.digest):
        return FileResponse(path, media_type=media_type, headers=headers)  # answers ranges, as players ask for them
    return StreamingResponse(film.blobs.read(file.digest), media_type=media_type,
                             headers={**headers, "Content-Length": str(file.size)})


@router.get("/{video_id}/preview")
def video_preview(video_id: str, request: Request, actor: ActorDep) -> Response:
    """Headwater's own: the latest picture of a film under way, a JPEG; 404 while there is none."""
    film = get_app(request).film
    kept = find(film, need_person(actor), video_id)
    try:
        data = preview_path(film, kept).read_bytes()
    except FileNotFoundError:
        raise NotFound("There is no preview of this film now.") from None
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def _order(film: Film, actor: Actor, account: Account, asked: Asked, photo: Staged | None,
           told: tuple[str, ...]) -> KeptFilm:
    kept = order(film, actor, account, asked, photo)
    if not told:
        return kept
    return film.films.update(kept.id, asked={**kept.asked, "notes": [*told, *kept.asked["notes"]]}) or kept


def _source(film: Film, account: Account, said: dict[str, Any], file: Staged | None) -> KeptFilm:
    """The film that is to be changed. Raises BadInput when it was not made here, NotFound."""
    if file is not None:
        try:
            kept = recall(film, Path(file.path), account.id).film
        finally:
            _forget(file)
        if kept is None:
            raise BadInput("This is no film of yours made here, and no other can be changed.",
                           hint="Order a new film with a picture of it.")
        return kept
    source = said.get("video")
    film_id = source.get("id") if isinstance(source, dict) else said.get("video[id]")
    if not isinstance(film_id, str):
        raise Malformed("video: must be {\"id\": ...}, or the file of a film made here.", "video")
    return find(film, account, film_id)


async def _said(request: Request, film: Film,
                file_field: str = "input_reference") -> tuple[dict[str, Any], Staged | None]:
    """(fields, the picture): of a multipart form, or of JSON with the picture as {"image_url": "data:..."}."""
    file_max = PHOTO_MAX if file_field == "input_reference" else VIDEO_MAX
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await _json(request, PHOTO_MAX * 4 // 3 + FORM_MAX)
        reference = body.pop(file_field, None) if file_field == "input_reference" else None
        return body, await asyncio.to_thread(_from_url, film, reference) if reference is not None else None
    form = await read_form(request, file_max, "Send a smaller file.")
    try:
        said = {name: value for name, value in form.items() if isinstance(value, str)}
        file = form.get(file_field)
        if isinstance(file, str) and file:
            raise Malformed(f"{file_field}: must be a file.", file_field)
        if not isinstance(file, UploadFile):
            return said, None
        return said, await asyncio.to_thread(film.stage, chunks(file), limit=file_max)
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


def _from_url(film: Film, reference: Any) -> Staged:
    url = reference.get("image_url") if isinstance(reference, dict) else reference
    match = re.match(r"data:image/[\w.+-]{1,30};base64,", url[:60]) if isinstance(url, str) else None
    if match is None:
        raise Malformed("input_reference: must be a file, or {\"image_url\": \"data:image/...;base64,...\"}.",
                        "input_reference")
    try:
        data = base64.b64decode(url[match.end():], validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("input_reference: is not base64.", "input_reference") from None
    return film.stage([data], limit=PHOTO_MAX)


_TAKEN = {"prompt", "model", "seconds", "size", "width", "height", "fps", "num_frames", "num_inference_steps",
          "guidance_scale", "seed", "negative_prompt", "camera", "preset"}


def _asked(said: dict[str, Any], default: str) -> tuple[Asked, tuple[str, ...]]:
    """(the order, what to tell about it). Raises Malformed, naming the field."""
    model, told = stand_in(_text(said, "model", ""), default)
    if ignored := sorted(set(said) - _TAKEN):
        told += (f"These fields have no effect: {', '.join(name[:40] for name in ignored[:20])}.",)
    fps = _whole(said, "fps")
    seconds = _number(said, "seconds")
    if (frames := _whole(said, "num_frames")) is not None:
        seconds = frames / (fps or 24)
    camera = said.get("camera") or {}
    if isinstance(camera, str):
        try:
            camera = json.loads(camera)
        except ValueError:
            raise Malformed("camera: is no JSON.", "camera") from None
    if not isinstance(camera, dict) or not all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in camera.values()):
        raise Malformed("camera: must be an object of numbers.", "camera")
    return Asked(
        prompt=_text(said, "prompt"), model=model, negative=_text(said, "negative_prompt", ""), seconds=seconds,
        fps=fps,
        size=_size(said), steps=_whole(said, "num_inference_steps"), guidance=_number(said, "guidance_scale"),
        seed=_whole(said, "seed"), preset=_text(said, "preset", "") or "normal", camera=camera), told


def _size(said: dict[str, Any]) -> tuple[int, int] | None:
    width, height = _whole(said, "width"), _whole(said, "height")
    if width is not None and height is not None:
        return width, height
    size = _text(said, "size", "")
    if not size or size == "auto":
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if match is None:
        raise Malformed(f"size: {size[:50]!r} is not like 1280x720.", "size")
    return int(match[1]), int(match[2])


def _text(said: dict[str, Any], name: str, default: str | None = None) -> str:
    value = said.get(name, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise Malformed(f"{name}: must be a text.", name)
    return value.replace("\0", "")


def _number(said: dict[str, Any], name: str) -> float | None:
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


def _whole(said: dict[str, Any], name: str) -> int | None:
    value = said.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise Malformed(f"{name}: must be a whole number.", name)
    return int(value)


def _forget(photo: Staged | None) -> None:
    if photo:
        Path(photo.path).unlink(missing_ok=True)


def _answer(film: Film, kept: KeptFilm) -> Response:
    headers = {"openai-poll-after-ms": str(POLL_MS)} if kept.state in ("queued", "running") else {}
    return JSONResponse(_shown(film, kept), headers=headers)


def _shown(film: Film, kept: KeptFilm) -> dict[str, Any]:
    asked, job = kept.asked, job_of(film, kept) if kept.state in ("queued", "running") else None
    error = None
    if kept.state in ("failed", "cancelled"):
        error = {"code": kept.state if kept.state == "cancelled" else "generation_failed",
                 "message": kept.error or "The film was cancelled."}
    done = round(100 * job.done / job.total) if job and job.total else 0
    return {
        "id": kept.id, "object": "video", "model": asked["model"] or f"headwater/{asked['engine']}",
        "status": STATES[kept.state], "progress": 100 if kept.state == "done" else min(99, done),
        "created_at": int(kept.created_at), "completed_at": int(kept.finished_at) if kept.state == "done" and
        kept.finished_at else None, "expires_at": None, "seconds": f"{asked['seconds']:g}",
        "size": f"{asked['width']}x{asked['height']}", "prompt": asked["prompt"], "error": error,
        "remixed_from_video_id": kept.remixed_from,
        "headwater": {"engine": asked["engine"], "build": (kept.receipt or {}).get("build"),
                      "revision": asked["revision"] or None, "seed": asked["seed"], "fps": asked["fps"],
                      "generates": (kept.receipt or {}).get("generates"), "notes": asked["notes"],
                      "stage": job.stage if job else None, "done": job.done if job else None,
                      "total": job.total if job else None}}
