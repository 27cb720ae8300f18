"""What the pages of film share: who films, a form with one large file, and a film as a page shows it. Knows no engine.

A form is read here and not by FastAPI, so that its file is bounded while it arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from headwater.core.errors import BadInput, Forbidden, TooLarge
from headwater.core.types import Access, Account, Actor, Job, KeptFilm, Staged
from headwater.film import Film, credit
from headwater.film.consent import Sender, sent
from headwater.film.make import preview_path
from headwater.film.order import job_of, settled
from headwater.film.queue import Standing
from headwater.hub.access import need_scope
from headwater.web.site import app_of

FORM_MAX = 1_000_000
SOURCES = {credit.GENERATED: "generated", credit.GENERATED_FROM_PHOTO: "mixed", credit.ANIMATED_PHOTO: "moved"}
"""What a credential calls the pictures' origin, as the pages name it."""


@dataclass(frozen=True)
class Shown:
    """left: seconds that are still to go, None while that cannot be told. preview: its address, None while there is
    none. standing: its place in the line, None when it is over. owner: whose it is, None for the visitor's own."""

    film: KeptFilm
    job: Job | None
    left: float | None
    preview: str | None
    standing: Standing | None = None
    owner: str | None = None

    @property
    def going(self) -> bool:
        return self.film.state in ("queued", "running")


def film_of(request: Request) -> Film:
    return app_of(request).film


def person(actor: Actor, need: Access = Access.READ) -> Account:
    """Whose films these are. Raises NotSignedIn, Forbidden."""
    account = need_scope(actor, need)
    if actor.repos is not None:
        raise Forbidden("This token opens only the repos it was made for, and no films.")
    return account


def maker(request: Request, engine: str, model: str) -> str:
    """What makes a film, as people say it. model: owner/name; "" for none."""
    _ = request.state.visitor.words.gettext
    if engine == "photo":
        return _("Photo in motion, built in; faces by {name}").replace("{name}", model) if model else \
            _("Photo in motion, built in")
    if engine == "plain":
        return _("Camera over the photo, built in")
    if engine == "remote_videos":
        return _("{name}, at another server").replace("{name}", model)
    return model or engine


def sender_of(request: Request) -> Sender:
    """For the log of who said what of the people in a photo."""
    return sent("page", request.client.host if request.client else None, request.headers.get("user-agent", ""))


def shown(film: Film, kept: KeptFilm, standing: Standing | None = None, owner: str | None = None) -> Shown:
    """The film as it stands now."""
    kept = settled(film, kept)
    if kept.state not in ("queued", "running"):
        return Shown(kept, None, None, None, None, owner)
    job, left, preview = job_of(film, kept), standing.left_s if standing else None, None
    if kept.state == "running" and job and job.started_at and job.total and job.done:
        left = max(0.0, (film.now() - job.started_at) / job.done * (job.total - job.done))
    path = preview_path(film, kept)
    if path.exists():
        preview = f"/v1/videos/{kept.id}/preview?at={job.done if job else 0}"
    return Shown(kept, job, left, preview, standing, owner)


async def form_of(request: Request, film: Film, limit: int, *fields: str) -> tuple[dict[str, str], dict[str, Staged]]:
    """(the texts of a multipart form, its files by the names of `fields`, of at most `limit` bytes together; empty
    ones are left out). Raises BadInput, TooLarge while it still arrives."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadInput("This wants a form with a file.")
    try:
        form = await _parser(request.headers, _bounded(request, limit + FORM_MAX), len(fields)).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput(f"The form cannot be read: {getattr(error, 'message', error)}.") from None
    try:
        said = {name: value.replace("\0", "") for name, value in form.items() if isinstance(value, str)}
        files: dict[str, Staged] = {}
        try:
            for name in fields:
                file = form.get(name)
                if isinstance(file, UploadFile) and file.size:
                    files[name] = await asyncio.to_thread(film.stage, _chunks(file), limit=limit)
        except BaseException:
            forget(*files.values())
            raise
        return said, files
    finally:
        await form.close()


def forget(*staged: Staged | None) -> None:
    """Files that were received and are not wanted any more."""
    for one in staged:
        if one:
            Path(one.path).unlink(missing_ok=True)


def _parser(headers: Headers, stream: Any, most: int) -> MultiPartParser:
    return MultiPartParser(headers, stream, max_files=most, max_fields=60, max_part_size=FORM_MAX)


async def _bounded(request: Request, limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"At most {limit:,} bytes are taken.", hint="Choose a smaller file.")
        yield chunk


def _chunks(file: UploadFile) -> Iterator[bytes]:
    while chunk := file.file.read(1 << 20):
        yield chunk
