"""/v1/videos: films in the form of OpenAI's Videos API, whose own clients always send multipart. Thin over film/.

Fields of vLLM-Omni's larger form (width, num_frames, seed, ...) are taken too. A status a client does not know would
end its polling, so a cancelled film is `failed` with the code "cancelled".
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.tools import Malformed
from headwater.api.openai.video_request import asked_in, drop, said_in, text_in, whole_in
from headwater.api.person import need_person
from headwater.api.sender import sender_of
from headwater.core.errors import BadInput, Conflict, CorruptFile, EngineFailed, NotBuilt, NotFound
from headwater.core.types import Access, Account, Actor, KeptFilm, Staged
from headwater.film import Film
from headwater.film.credit import authority, check
from headwater.film.extend import extend, extend_footage
from headwater.film.make import preview_path
from headwater.film.order import again, cancel, delete, find, job_of, order, settled
from headwater.film.recall import recall

router = APIRouter(prefix="/v1/videos", tags=["OpenAI"])
FACE = "openai"
POLL_MS = 700
SYNC_POLL_S = 0.2
EXTENDED = ("prompt", "negative", "seconds", "steps", "guidance", "seed", "camera", "badge", "more", "people")
"""Of an order that goes on from a film, what changes its recipe; size and pace stay."""
STATES = {"queued": "queued", "running": "in_progress", "done": "completed", "failed": "failed", "cancelled": "failed"}
VARIANTS = {"video": ("video", "video/mp4"), "thumbnail": ("poster", "image/webp"),
            "spritesheet": ("sheet", "image/webp")}
_FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string"}, "model": {"type": "string"}, "seconds": {"type": "string"},
        "size": {"type": "string", "example": "1280x720"},
        "input_reference": {"type": "string", "format": "binary"},
        "people": {"type": "string", "enum": ["none", "agreed"]}}}}}}}


@router.post("", openapi_extra=_FORM)
async def create_video(request: Request, actor: ActorDep) -> Response:
    """Order a film from words, or from a picture (input_reference). seconds, size, seed, width, height, fps,
    num_frames, num_inference_steps, guidance_scale, negative_prompt, camera (JSON) and preset may be said; what has
    no effect is told in `headwater.notes`. people says who is in the picture: none (nobody can be recognised) or
    agreed (they can, and agreed); it is kept in the hub's log, as is that nobody said."""
    film = get_app(request).film
    return _answer(film, await _ordered(request, film, actor))


@router.post("/sync", openapi_extra=_FORM)
async def create_video_sync(request: Request, actor: ActorDep) -> Response:
    """The same, answered with the MP4 itself once it is made, as vLLM-Omni does. A film whose asker goes away is
    cancelled."""
    film = get_app(request).film
    kept = await _ordered(request, film, actor)
    while kept.state in ("queued", "running"):
        if await request.is_disconnected():
            with contextlib.suppress(Conflict):
                await asyncio.to_thread(cancel, film, kept)
            return Response(status_code=499)
        await asyncio.sleep(SYNC_POLL_S)
        now = await asyncio.to_thread(film.films.get, kept.id)
        if now is None:
            raise NotFound("The film was deleted while it was made.")
        kept = await asyncio.to_thread(settled, film, now)
    if kept.state != "done":
        raise EngineFailed(kept.error or "The film was cancelled.")
    answer = await asyncio.to_thread(_content, film, kept, "video")
    answer.headers["X-Video-Id"] = kept.id
    return answer


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
async def edit_video(request: Request, actor: ActorDep) -> Response:
    """A film made again with another prompt; video is {"id": ...}, or the film's file, which is recognised."""
    account, film = need_person(actor, Access.WRITE), get_app(request).film
    said, file = await said_in(request, film, "video")

    def edited() -> KeptFilm:
        try:
            prompt = text_in(said, "prompt")
            kept = _named(film, account, said) if file is None else recall(film, Path(file.path), account.id).film
        finally:
            drop(file)
        if kept is None:
            raise BadInput("This is no film of yours made here, and no other can be changed.",
                           hint="Order a new film with a picture of it, or extend it: POST /v1/videos/extensions.")
        return again(film, actor, account, kept, prompt=prompt, **_further(request, said))

    return _answer(film, await asyncio.to_thread(edited))


@router.post("/extensions")
async def extend_video(request: Request, actor: ActorDep) -> Response:
    """A film that goes on where another ended; video is {"id": ...}, or any video's file. seconds: of what is added;
    the film answered says those of both together."""
    account, film = need_person(actor, Access.WRITE), get_app(request).film
    said, file = await said_in(request, film, "video")

    def extended() -> KeptFilm:
        try:
            asked = asked_in({name: value for name, value in said.items() if name not in ("video", "video[id]")},
                             film.settings.film_model)
            asked = replace(asked, sender=sender_of(request, FACE))
            kept = _named(film, account, said) if file is None else _ours(film, account, file)
            if kept is None and file is not None:
                return extend_footage(film, actor, account, file, asked)
        finally:
            drop(file)
        model = {"model": asked.model} if asked.model and not asked.told else {}
        changed = {name: vars(asked)[name] for name in EXTENDED if vars(asked)[name] not in (None, "", {})}
        return extend(film, actor, account, kept, sender=asked.sender, **changed, **model)

    return _answer(film, await asyncio.to_thread(extended))


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
    said, photo = await said_in(request, film)
    drop(photo)
    kept = await asyncio.to_thread(find, film, account, video_id)
    changed: dict[str, Any] = {"prompt": text_in(said, "prompt")} if said.get("prompt") else {}
    return _answer(film, await asyncio.to_thread(
        lambda: again(film, actor, account, kept, **changed, **_further(request, said))))


@router.get("/{video_id}/content")
def video_content(
    video_id: str, request: Request, actor: ActorDep, variant: Literal["video", "thumbnail", "spritesheet"] = "video",
) -> Response:
    """The MP4, one picture of it, or twenty in a sheet. 409 until it is made."""
    film = get_app(request).film
    return _content(film, find(film, need_person(actor), video_id), variant)


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


async def _ordered(request: Request, film: Film, actor: Actor) -> KeptFilm:
    account = need_person(actor, Access.WRITE)
    said, photo = await said_in(request, film)
    try:
        asked = replace(asked_in(said, film.settings.film_model), sender=sender_of(request, FACE))
    except BaseException:
        drop(photo)
        raise
    return await asyncio.to_thread(order, film, actor, account, asked, photo)  # which consumes the photo


def _named(film: Film, account: Account, said: dict[str, Any]) -> KeptFilm:
    source = said.get("video")
    film_id = source.get("id") if isinstance(source, dict) else said.get("video[id]")
    if not isinstance(film_id, str):
        raise Malformed("video: must be {\"id\": ...}, or a film's file.", "video")
    return find(film, account, film_id)


def _ours(film: Film, account: Account, file: Staged) -> KeptFilm | None:
    """The film of the account that this file is, byte for byte."""
    try:
        credential = check(Path(file.path), [authority(film.authority).trusted])
    except CorruptFile:
        return None
    if credential.state != "trusted" or not credential.recipe:
        return None
    kept = film.films.get(str(credential.recipe.get("film")))
    video = film.files.get(account.id, kept.video or "") if kept and kept.account_id == account.id else None
    return kept if video and video.digest == file.digest else None


def _further(request: Request, said: dict[str, Any]) -> dict[str, Any]:
    """What an order made again may say beside its words, by the names of Asked."""
    seed, people = whole_in(said, "seed"), text_in(said, "people", "")
    return {"sender": sender_of(request, FACE), **({} if seed is None else {"seed": seed}),
            **({"people": people} if people else {})}


def _content(film: Film, kept: KeptFilm, variant: str) -> Response:
    which, media_type = VARIANTS[variant]
    file = film.files.get(kept.account_id, getattr(kept, which) or "")
    if file is None:
        raise Conflict(f"The film is not made: it is {kept.state}.", hint="Ask again when its status is completed.")
    headers = {"Cache-Control": "private, max-age=3600", "ETag": f'"{file.digest}"',
               "Content-Security-Policy": "default-src 'none'; sandbox",
               "Content-Disposition": f'inline; filename="{file.name}"'}
    if (path := film.blobs.path(file.digest)) and Path(path).is_file():
        return FileResponse(path, media_type=media_type, headers=headers)  # answers ranges, as players ask for them
    return StreamingResponse(film.bytes_of(file), media_type=media_type,
                             headers={**headers, "Content-Length": str(file.size)})


def _answer(film: Film, kept: KeptFilm) -> Response:
    headers = {"openai-poll-after-ms": str(POLL_MS)} if kept.state in ("queued", "running") else {}
    return JSONResponse(_shown(film, kept), headers=headers)


def _shown(film: Film, kept: KeptFilm) -> dict[str, Any]:
    asked, job = kept.asked, job_of(film, kept) if kept.state in ("queued", "running") else None
    error = None
    if kept.state in ("failed", "cancelled"):
        error = {"code": kept.state if kept.state == "cancelled" else "generation_failed",
                 "message": kept.error or "The film was cancelled."}
    extends = asked.get("extends") or {}
    seconds, size, fps = _measured(kept)
    done = round(100 * job.done / job.total) if job and job.total else 0
    return {
        "id": kept.id, "object": "video", "model": asked["model"] or f"headwater/{asked['engine']}",
        "status": STATES[kept.state], "progress": 100 if kept.state == "done" else min(99, done),
        "created_at": int(kept.created_at), "completed_at": int(kept.finished_at) if kept.state == "done" and
        kept.finished_at else None, "expires_at": None, "seconds": f"{seconds:g}",
        "size": size, "prompt": asked["prompt"], "error": error,
        "remixed_from_video_id": kept.remixed_from,
        "headwater": {"engine": asked["engine"], "build": (kept.receipt or {}).get("build"),
                      "revision": asked["revision"] or None, "seed": asked["seed"], "fps": fps,
                      "generates": (kept.receipt or {}).get("generates"), "notes": asked["notes"],
                      "extends": extends.get("film") or None, "draft": (kept.receipt or {}).get("draft"),
                      "stage": job.stage if job else None, "done": job.done if job else None,
                      "total": job.total if job else None, "people": asked.get("people") or None}}


def _measured(kept: KeptFilm) -> tuple[float, str, float]:
    """Seconds, size and pace: as the film is once it is made, before that as it was ordered. A server elsewhere may
    send another size than was asked for, an extended film has the frame once that both parts have."""
    asked, made, extends = kept.asked, kept.receipt or {}, kept.asked.get("extends") or {}
    if made.get("fps"):
        return made["frames"] / made["fps"], made.get("size") or f"{asked['width']}x{asked['height']}", made["fps"]
    before = extends["frames"] / extends["fps"] if extends else 0
    return asked["seconds"] + before, f"{asked['width']}x{asked['height']}", asked["fps"]
