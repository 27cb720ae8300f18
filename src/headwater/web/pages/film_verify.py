"""Which film is this file? A file is handed over, read, compared, and not kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.types import Account, Staged
from headwater.film import Film
from headwater.film.recall import Recalled, recall
from headwater.web.pages._film import SOURCES, film_of, form_of, person
from headwater.web.site import OWN_FORM, VisitorDep, page

router = APIRouter()
VIDEO_MAX = 500_000_000


@router.get("/film/verify")
def ask(request: Request, who: VisitorDep) -> Response:
    return _page(request, signed_in=who.actor.account is not None)


@router.post("/film/verify", dependencies=OWN_FORM)
async def verify(request: Request, who: VisitorDep) -> Response:
    here, account = film_of(request), person(who.actor)
    try:
        _, files = await form_of(request, here, VIDEO_MAX, "film")
        if not files:
            raise BadInput(who.words.gettext("Choose a video first."))
        found = await asyncio.to_thread(_recalled, here, account, files["film"])
    except HeadwaterError as error:
        return _page(request, problem=error, status=error.status)
    recipe = found.credential.recipe
    return _page(request, found=found, recipe=json.dumps(recipe, indent=2, ensure_ascii=False) if recipe else None)


def _recalled(here: Film, account: Account, file: Staged) -> Recalled:
    try:
        return recall(here, Path(file.path), account.id)
    finally:
        Path(file.path).unlink(missing_ok=True)


def _page(request: Request, *, status: int = 200, signed_in: bool = True, found: Recalled | None = None,
          recipe: str | None = None, problem: HeadwaterError | None = None) -> Response:
    data: dict[str, Any] = {"found": found, "recipe": recipe, "problem": problem, "signed_in": signed_in}
    return page(request, "film_verify.html", status=status, sources=SOURCES, **data)
