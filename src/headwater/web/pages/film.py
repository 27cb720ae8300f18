"""Films: order one from a photo or from words, watch the queue, look at those one has. Knows forms; makes nothing.

film/order.py decides what can be made; static/film.js makes the form quicker to use and is not needed for it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.film import AXES
from headwater.core.types import Access, Actor, KeptFilm, Staged
from headwater.film import Film
from headwater.film.models import find_all
from headwater.film.order import BUILT_IN, FPS, PHOTO_MAX, SECONDS, Asked, estimate, order, plan
from headwater.web.pages._film import Shown, film_of, form_of, person, shown
from headwater.web.pages._film_terms import terms
from headwater.web.site import OWN_FORM, VisitorDep, app_of, go, page

router = APIRouter()
SIZES = ("1280x720", "720x1280", "960x720", "720x720", "640x480", "480x480")
RATES = (12, 24, 30)
EACH = 24
LATELY = 8
"""Films that came to nothing are shown so many at a time."""
PEOPLE = {"none": "no people can be recognised", "agreed": "people can be recognised and agreed"}


@router.get("/film")
def film(request: Request, who: VisitorDep, after: str = "", model: str | None = None) -> Response:
    """htmx asks for the queue alone, every second while something is made."""
    if "hx-request" in request.headers:
        return page(request, "parts/film_queue.html", **_films(film_of(request), who.actor, ""))
    return _page(request, who.actor, {} if model is None else {"model": model}, after=after)


@router.post("/film", dependencies=OWN_FORM)
async def make(request: Request, who: VisitorDep) -> Response:
    here, said = film_of(request), {}
    try:
        account = person(who.actor, Access.WRITE)
        said, photo = await form_of(request, here, "photo", PHOTO_MAX)
        kept = await asyncio.to_thread(_order, request, who.actor, said, photo)
    except HeadwaterError as error:
        if error.status in (401, 403):
            raise
        return await asyncio.to_thread(_page, request, who.actor, said, problem=error, status=error.status)
    if kept.photo:
        app_of(request).hub.accounts.note("film.consent", f"film/{kept.id}", by=who.actor,
                                          detail={"said": PEOPLE[said["people"]], "photo": kept.photo,
                                                  "account": account.name})
    return go(f"/film/watch/{kept.id}")


@router.post("/film/plan", dependencies=OWN_FORM)
async def planned(request: Request, who: VisitorDep) -> Response:
    """What the form as it stands would make: a part of the page. A smaller picture of the same shape may stand for the
    photo."""
    here = film_of(request)
    person(who.actor)
    try:
        said, photo = await form_of(request, here, "photo", PHOTO_MAX)
        data = await asyncio.to_thread(_plan, request, who.actor, said, photo)
    except HeadwaterError as error:
        if error.status in (401, 403):
            raise
        data = {"problem": error, "planned": None}
    return page(request, "parts/film_plan.html", **data)


def _order(request: Request, actor: Actor, said: dict[str, str], photo: Staged | None) -> KeptFilm:
    here = film_of(request)
    try:
        asked = _asked(said)
        if photo is not None and said.get("people") not in PEOPLE:
            raise BadInput(_gettext(request)("Say whether people can be recognised in the photo, and agree."))
    except BaseException:
        _forget(photo)
        raise
    return order(here, actor, person(actor, Access.WRITE), asked, photo)  # consumes the photo


def _plan(request: Request, actor: Actor, said: dict[str, str], photo: Staged | None) -> dict[str, Any]:
    here = film_of(request)
    try:
        normalised = plan(here, actor, _asked(said), photo)
        made = normalised.request
        return {"problem": None, "planned": normalised, "takes": estimate(here, normalised),
                "generates": here.engines[made.engine].describe(made.folder).generates,
                "terms": terms(app_of(request).hub, actor, made.model)}
    finally:
        _forget(photo)


def _asked(said: dict[str, str]) -> Asked:
    """Raises BadInput, naming the field."""
    axis, strength = said.get("axis", ""), _number(said, "strength") or 0.0
    width, cross, height = said.get("size", "").partition("x")
    if cross and not (width.isdigit() and height.isdigit() and len(width + height) < 10):
        raise BadInput("size: is not like 1280x720.")
    fps, seed = _number(said, "fps"), said.get("seed", "").strip()
    if seed and not (seed.isdecimal() and len(seed) < 20):
        raise BadInput("seed: must be a whole number.")
    return Asked(
        prompt=said.get("prompt", "").strip(), model=said.get("model", ""), negative=said.get("negative", "").strip(),
        seconds=_number(said, "seconds"), fps=int(fps) if fps is not None else None,
        size=(int(width), int(height)) if cross else None, seed=int(seed) if seed else None,
        preset=said.get("preset") or "normal", camera={axis: strength} if axis else {})


def _number(said: dict[str, str], name: str) -> float | None:
    text = said.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e6:
        raise BadInput(f"{name}: must be a number.")
    return number


def _page(request: Request, actor: Actor, said: dict[str, str], *, after: str = "",
          problem: HeadwaterError | None = None, status: int = 200) -> Response:
    here = film_of(request)
    if actor.account is None or actor.repos is not None:
        return page(request, "film.html", signed_in=False)
    own = [name for name in BUILT_IN if name in here.engines.names() and here.engines[name].available() is None
           and not here.engines[name].describe(None).needs_model]
    models = find_all(here, actor)
    said.setdefault("model", next((one.repo.full_name for one in models if one.engine in BUILT_IN), ""))
    return page(request, "film.html", status=status, signed_in=True, said=defaultdict(str, said), problem=problem,
                axes=AXES, sizes=SIZES, rates=RATES, defaults={"seconds": f"{SECONDS:g}", "fps": str(FPS)}, own=own,
                models=[one.repo.full_name for one in models], photo_max=PHOTO_MAX,
                later=bool(after), planned=None, tells=_words(request), **_films(here, actor, after))


def _films(here: Film, actor: Actor, after: str) -> dict[str, Any]:
    account = person(actor)
    going: list[Shown] = []
    for state in ("running", "queued"):
        found, _ = here.films.page(account.id, state=state, limit=50, newest_first=False)
        going += [one for one in (shown(here, kept) for kept in found) if one.going]
    done, more = here.films.page(account.id, state="done", limit=EACH, after=after or None)
    ended = [kept for state in ("failed", "cancelled")
             for kept in here.films.page(account.id, state=state, limit=LATELY)[0]]
    return {"going": going, "done": done, "more": more,
            "ended": sorted(ended, key=lambda kept: -kept.created_at)[:LATELY] if not after else []}


def _words(request: Request) -> dict[str, str]:
    """What film.js says, in the visitor's language."""
    _ = _gettext(request)
    return {"no_picture": _("This is no picture the browser can show; it may still be one the hub can read."),
            "too_large": _("The photo is too large: at most {size} are taken."),
            "offline": _("The hub did not answer.")}


def _gettext(request: Request) -> Any:
    return request.state.visitor.words.gettext


def _forget(photo: Staged | None) -> None:
    if photo:
        Path(photo.path).unlink(missing_ok=True)
