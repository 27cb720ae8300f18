"""What Headwater says of films beyond OpenAI's form: which film a file is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from headwater.api.deps import ActorDep, get_app
from headwater.api.person import need_person
from headwater.core.errors import TooLarge
from headwater.core.types import Account, Staged
from headwater.film import Film
from headwater.film.recall import Recalled, recall

router = APIRouter(prefix="/api/headwater/films", tags=["headwater: films"])
VIDEO_MAX = 500_000_000


class Recognised(BaseModel):
    """credential: trusted (this hub's, untouched), valid (somebody else's, untouched), broken (changed since) or none.
    recipe: what the credential says made it. film: the record here that it names, or that the file looks like;
    distance: how far it looks from it, 0 to 1, null where the credential alone told. made: what the record says. Only
    films of the asker are found."""

    credential: str
    signer: str | None
    problems: list[str]
    source_type: str | None
    ingredients: list[str]
    recipe: dict[str, Any] | None
    film: str | None
    distance: float | None
    mirrored: bool
    made: dict[str, Any] | None


@router.post("/verify", openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {
    "schema": {"type": "string", "format": "binary"}}}}})
async def verify_film(request: Request, actor: ActorDep) -> Recognised:
    """Say what made a video file, or a copy of one (encoded anew, halved, cropped a little, mirrored): the body."""
    account, film = need_person(actor), get_app(request).film
    if int(request.headers.get("content-length") or 0) > VIDEO_MAX:
        raise TooLarge(f"A video to verify has at most {VIDEO_MAX:,} bytes.")
    file = await asyncio.to_thread(film.stage, [], limit=VIDEO_MAX)
    try:
        with Path(file.path).open("wb") as out:
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                if size > VIDEO_MAX:
                    raise TooLarge(f"A video to verify has at most {VIDEO_MAX:,} bytes.")
                await asyncio.to_thread(out.write, chunk)
        return await asyncio.to_thread(_recognised, film, account, file)
    finally:
        Path(file.path).unlink(missing_ok=True)


def _recognised(film: Film, account: Account, file: Staged) -> Recognised:
    return shown(recall(film, Path(file.path), account.id))


def shown(found: Recalled) -> Recognised:
    credential, kept = found.credential, found.film
    made = None
    if kept is not None:
        made = {name: kept.asked[name] for name in ("engine", "model", "revision", "prompt", "negative", "seed")}
    return Recognised(
        credential=credential.state, signer=credential.signer, problems=list(credential.problems),
        source_type=credential.source_type, ingredients=list(credential.ingredients), recipe=credential.recipe,
        film=kept.id if kept else None, distance=found.distance, mirrored=found.mirrored, made=made)
