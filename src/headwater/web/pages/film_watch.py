"""One film: how far it is, and once it is made the player, what made it, its credential, and what to do with it.

Knows what is kept of a film; makes nothing itself.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.core.types import Access, Account, Actor, KeptFilm
from headwater.film import Film, credit
from headwater.film.extend import extend
from headwater.film.measuring import on_disk, take, taken
from headwater.film.order import again, delete, find
from headwater.film.queue import change, standings
from headwater.web.pages._film import SOURCES, Shown, film_of, maker, person, sender_of, shown
from headwater.web.pages._film_form import changes_of
from headwater.web.pages._film_terms import terms
from headwater.web.site import OWN_FORM, VisitorDep, app_of, go, page, segment

router = APIRouter()


@router.get("/film/watch/{film}")
def watch(request: Request, who: VisitorDep, film: str) -> Response:
    """htmx asks for the upper part alone, every second until the film is made, then for its measures."""
    here, account = film_of(request), person(who.actor)
    kept = find(here, account, segment(film))
    if request.headers.get("hx-target") == "measures":
        return page(request, "parts/film_measures.html", measures=taken(kept), measuring=take(here, account, kept))
    if "hx-request" in request.headers:
        return page(request, "parts/film_screen.html", one=_as_it_stands(here, kept))
    return _page(request, here, who.actor, account, kept)


@router.post("/film/watch/{film}/again", dependencies=OWN_FORM)
def once_more(request: Request, who: VisitorDep, film: str, prompt: Annotated[str | None, Form()] = None,
              seed: Annotated[str, Form()] = "new") -> Response:
    """The same order with a new seed, or with the same seed and other words."""
    here, account = film_of(request), person(who.actor, Access.WRITE)
    kept = find(here, account, segment(film))
    changed: dict[str, Any] = {"sender": sender_of(request)}
    if prompt is not None:
        changed["prompt"] = prompt.replace("\0", "").strip()
    if seed == "same":
        changed["seed"] = kept.asked["seed"]
    try:
        return go(f"/film/watch/{again(here, who.actor, account, kept, **changed).id}")
    except HeadwaterError as error:
        return _page(request, here, who.actor, account, kept, problem=error)


@router.post("/film/watch/{film}/extend", dependencies=OWN_FORM)
def go_on(request: Request, who: VisitorDep, film: str, prompt: Annotated[str, Form()] = "",
          seconds: Annotated[str, Form()] = "") -> Response:
    """A film that goes on where this one ended."""
    here, account = film_of(request), person(who.actor, Access.WRITE)
    kept = find(here, account, segment(film))
    try:
        changed = changes_of({"prompt": prompt, "seconds": seconds}) | {"sender": sender_of(request)}
        return go(f"/film/watch/{extend(here, who.actor, account, kept, **changed).id}")
    except HeadwaterError as error:
        return _page(request, here, who.actor, account, kept, problem=error)


@router.post("/film/watch/{film}/change", dependencies=OWN_FORM)
def alter(request: Request, who: VisitorDep, film: str, prompt: Annotated[str | None, Form()] = None,
          seconds: Annotated[str, Form()] = "", seed: Annotated[str, Form()] = "",
          preset: Annotated[str | None, Form()] = None, edition: Annotated[int | None, Form()] = None) -> Response:
    """An order that waits, with what the form says of it."""
    here, account = film_of(request), person(who.actor, Access.WRITE)
    kept = find(here, account, segment(film))
    said = {"prompt": prompt, "seconds": seconds, "seed": seed, "preset": preset}
    try:
        changes = changes_of({name: value for name, value in said.items() if value is not None})
        change(here, who.actor, account, kept, changes, edition=edition)
    except HeadwaterError as error:
        return _page(request, here, who.actor, account, find(here, account, kept.id), problem=error)
    return go(f"/film/watch/{kept.id}")


@router.post("/film/watch/{film}/delete", dependencies=OWN_FORM)
def remove(request: Request, who: VisitorDep, film: str) -> Response:
    here, account = film_of(request), person(who.actor, Access.WRITE)
    delete(here, account, find(here, account, segment(film)))
    return go("/film")


def _page(request: Request, here: Film, actor: Actor, account: Account, kept: KeptFilm,
          problem: HeadwaterError | None = None) -> Response:
    app, one = app_of(request), _as_it_stands(here, kept)
    told, why = _credential(here, account, one.film)
    return page(request, "film_watch.html", measures=taken(one.film), measuring=take(here, account, one.film),
                status=problem.status if problem else 200, one=one, problem=problem,
                credential=told, unread=why,
                made_by=maker(request, kept.asked["engine"], kept.asked["model"]),
                terms=terms(app.hub, app.trace, actor, kept.asked["model"], kept.asked["revision"]),
                recipe=json.dumps(told.recipe, indent=2, ensure_ascii=False) if told and told.recipe else None,
                sources=SOURCES)


def _as_it_stands(here: Film, kept: KeptFilm) -> Shown:
    return shown(here, kept, standings(here).get(kept.id) if kept.state in ("queued", "running") else None)


def _credential(here: Film, account: Account, kept: KeptFilm) -> tuple[credit.Credential | None, str | None]:
    """(what the kept file itself says, checked now; why it could not be read). Both None while there is no film."""
    file = here.files.get(account.id, kept.video or "")
    if file is None:
        return None, None
    try:
        with on_disk(here, file) as path:
            return credit.check(path, [credit.authority(here.authority).trusted]), None
    except CorruptFile as error:
        return None, str(error)
