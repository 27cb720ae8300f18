"""/v1/videos/text2video, /image2video and /video-extend: films in the form of Kling's API. Thin over film/. What Kling
has beside them is refused in its form, with the reason.

Who asks is told by a token the program signs with a key pair of this hub (hub/key_pairs.py), or by a token of the hub.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from headwater.api.deps import base_url, get_actor, get_app, hub_of
from headwater.api.kling.answer import PURPOSE, ordered, refused, task, wrapped
from headwater.api.kling.request import Staging, asked, asked_on
from headwater.api.person import need_person
from headwater.api.sender import sender_of
from headwater.core.errors import BadInput, Conflict, HeadwaterError, NotBuilt, NotFound, TooLarge
from headwater.core.types import Access, Account, Actor, KeptFilm
from headwater.film import Film
from headwater.film.extend import extend
from headwater.film.order import find, order, settled
from headwater.hub.key_pairs import actor_of_jwt, is_jwt
from headwater.hub.signing import unsign

router = APIRouter(prefix="/v1/videos", tags=["Kling"])
REFUSED = {
    "omni-video": "No engine here takes a prompt that mixes pictures, videos and elements. Use image2video.",
    "multi-image2video": "No engine here films from several pictures. Send one to image2video.",
    "lip-sync": "No engine here moves lips to a sound.",
    "motion-control": "No engine here takes movements out of a video. image2video has masks with trajectories.",
    "effects": "Kling's effects are templates of its own models. Say what shall happen as the prompt of image2video."}
FACE = "kling"
BODY_MAX = 100_000_000
PAGES_MAX, PAGE_MAX = 1_000, 500
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {
    "type": "object", "properties": {
        "model_name": {"type": "string"}, "prompt": {"type": "string"}, "negative_prompt": {"type": "string"},
        "image": {"type": "string"}, "mode": {"type": "string"}, "duration": {"type": "string"},
        "aspect_ratio": {"type": "string"}, "camera_control": {"type": "object"}, "callback_url": {"type": "string"},
        "external_task_id": {"type": "string"}, "people": {"type": "string", "enum": ["none", "agreed"]}}}}}}}
_EXTEND = {"requestBody": {"required": True, "content": {"application/json": {"schema": {
    "type": "object", "required": ["video_id"], "properties": {
        "video_id": {"type": "string"}, "prompt": {"type": "string"}, "negative_prompt": {"type": "string"},
        "callback_url": {"type": "string"}, "external_task_id": {"type": "string"},
        "people": {"type": "string", "enum": ["none", "agreed"]}}}}}}}


@router.post("/text2video", openapi_extra=_BODY)
@router.post("/image2video", openapi_extra=_BODY)
async def create_task(request: Request) -> Response:
    """Order a film. Pictures are bare base64; static_mask and dynamic_masks go to engines that have a brush.
    Beyond Kling's own fields, people says who is in the picture: none (nobody can be recognised) or agreed."""
    kind = request.url.path.rpartition("/")[2]

    async def made() -> Any:
        actor = await asyncio.to_thread(_actor, request)
        account = need_person(actor, Access.WRITE)
        body = await _body(request)
        return ordered(await asyncio.to_thread(_order, request, actor, account, body, kind == "image2video"))

    try:
        return wrapped(await made())
    except HeadwaterError as error:
        return refused(error)


@router.post("/video-extend", openapi_extra=_EXTEND)
async def create_extension(request: Request) -> Response:
    """Go on where a film ended, for five seconds: a new task, whose film has the frames of both."""

    async def made() -> Any:
        actor = await asyncio.to_thread(_actor, request)
        account = need_person(actor, Access.WRITE)
        body = await _body(request)
        return ordered(await asyncio.to_thread(_extend, request, actor, account, body))

    try:
        return wrapped(await made())
    except HeadwaterError as error:
        return refused(error)


def _not_here(name: str) -> Callable[[Request], Response]:
    def refuse(request: Request) -> Response:
        return _answered(lambda: _refuse(request, REFUSED[name]))

    return refuse


for _name in REFUSED:
    for _path in (f"/{_name}", f"/{_name}/{{task_id}}"):
        router.add_api_route(_path, _not_here(_name), methods=["GET", "POST"], include_in_schema=False)


@router.get("/text2video")
@router.get("/image2video")
@router.get("/video-extend")
def list_tasks(request: Request) -> Response:
    """Your tasks, newest first. pageNum: 1 to 1000; pageSize: 1 to 500."""
    kind = request.url.path.rpartition("/")[2]

    def listed() -> list[dict[str, Any]]:
        account, film = need_person(_actor(request)), get_app(request).film
        number, size = _page(request, "pageNum", 1, PAGES_MAX), _page(request, "pageSize", 30, PAGE_MAX)
        found: list[KeptFilm] = []
        after, more = None, True
        while more and len(found) < number * size:
            page, more = film.films.page(account.id, after=after, limit=500)
            found += [kept for kept in page if _kind(kept) == kind]
            after = page[-1].id if page else None
        return [task(hub_of(request), settled(film, kept), base_url(request))
                for kept in found[(number - 1) * size: number * size]]

    return _answered(listed)


@router.get("/text2video/{task_id}")
@router.get("/image2video/{task_id}")
@router.get("/video-extend/{task_id}")
def get_task(task_id: str, request: Request) -> Response:
    """By its task_id, or the external_task_id it was given."""

    def found() -> dict[str, Any]:
        account, film = need_person(_actor(request)), get_app(request).film
        try:
            kept = find(film, account, task_id)
        except NotFound:
            named = film.films.named(account.id, task_id) if task_id.isprintable() and len(task_id) <= 100 else None
            if named is None:
                raise
            kept = settled(film, named)
        return task(hub_of(request), kept, base_url(request))

    return _answered(found)


@router.get("/signed/{ticket}")
def signed_video(ticket: str, request: Request) -> Response:
    """The film a task's result names, as long as its address holds; no key is needed."""
    said, film = unsign(hub_of(request), PURPOSE, ticket), get_app(request).film
    kept = film.films.get(said["film"])
    file = film.files.get(kept.account_id, kept.video or "") if kept else None
    if file is None:
        raise NotFound("This film is gone.")
    headers = {"Content-Security-Policy": "default-src 'none'; sandbox", "ETag": f'"{file.digest}"',
               "Content-Disposition": f'inline; filename="{file.name}"', "Cache-Control": "private, max-age=3600"}
    if path := film.blobs.path(file.digest):
        return FileResponse(path, media_type="video/mp4", headers=headers)
    return StreamingResponse(film.blobs.read(file.digest), media_type="video/mp4",
                             headers={**headers, "Content-Length": str(file.size)})


def _order(request: Request, actor: Actor, account: Account, body: dict[str, Any], with_image: bool) -> KeptFilm:
    film = get_app(request).film
    staging = Staging(film)
    try:
        wanted, photo = asked(film, body, staging, with_image)
        _need_own_name(film, account, wanted.external_id)
        return order(film, actor, account, replace(wanted, sender=sender_of(request, FACE)), photo)
    finally:
        staging.forget()


def _extend(request: Request, actor: Actor, account: Account, body: dict[str, Any]) -> KeptFilm:
    film = get_app(request).film
    film_id, wanted = asked_on(film, body)
    _need_own_name(film, account, wanted.get("external_id"))
    return extend(film, actor, account, find(film, account, film_id), **wanted,
                  sender=sender_of(request, FACE))


def _need_own_name(film: Film, account: Account, name: str | None) -> None:
    if name and film.films.named(account.id, name):
        raise Conflict(f"external_task_id: {name!r} names another task.")


def _kind(kept: KeptFilm) -> str:
    return "video-extend" if kept.asked.get("extends") else \
        "text2video" if kept.asked["kind"] == "t2v" else "image2video"


def _refuse(request: Request, why: str) -> None:
    need_person(_actor(request))
    raise NotBuilt(why)


def _actor(request: Request) -> Actor:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_jwt(token.strip()):
        try:
            return actor_of_jwt(hub_of(request), token.strip())
        except HeadwaterError:
            # An open hub asks nobody who they are, whatever a program was told to sign with; a closed one raises.
            if _open_actor(request) is None:
                raise
    return get_actor(request)


def _open_actor(request: Request) -> Actor | None:
    try:
        return get_actor(request)
    except HeadwaterError:
        return None


async def _body(request: Request) -> dict[str, Any]:
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_MAX:
            raise TooLarge(f"The request has more than {BODY_MAX:,} bytes.")
        parts.append(chunk)
    try:
        body = await asyncio.to_thread(json.loads, b"".join(parts))
    except (ValueError, RecursionError):
        raise BadInput("The body is no JSON.") from None
    if not isinstance(body, dict):
        raise BadInput("The body must be an object.")
    return body


def _page(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= most):
        raise BadInput(f"{name}: a whole number from 1 to {most}.")
    return int(text)


def _answered(work: Callable[[], Any]) -> Response:
    try:
        return wrapped(work())
    except HeadwaterError as error:
        return refused(error)
