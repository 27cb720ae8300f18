"""Films: order one from a photo or from words, watch the queue, look at those one has. Knows forms; makes nothing.

film/order.py decides what can be made; static/film.js makes the form quicker to use and is not needed for it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, Response

from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.film import AXES, Capabilities, Point
from headwater.core.types import Access, Actor, KeptFilm, Staged
from headwater.film import Film
from headwater.film.consent import ANSWERS
from headwater.film.landmarks import find_points
from headwater.film.learned import estimate
from headwater.film.models import find_all
from headwater.film.order import BUILT_IN, PHOTO_MAX, offered, order, plan
from headwater.film.queue import go_on_all, pause_all
from headwater.web.pages._film import film_of, forget, form_of, maker, person, sender_of
from headwater.web.pages._film_form import asked_of
from headwater.web.pages._film_line import do as carry_out
from headwater.web.pages._film_line import line_of
from headwater.web.pages._film_terms import terms
from headwater.web.site import OWN_FORM, VisitorDep, app_of, go, page, segment

router = APIRouter()
NAME_MAX = 300
SIZES = ("1280x720", "720x1280", "960x720", "720x720", "640x480", "480x480")
RATES = (12, 24, 30)
EACH = 8
"""Of the films made, the newest; all of them stand in the gallery."""
LATELY = 8
"""Films that came to nothing are shown so many at a time."""
CONTROLS = ("camera", "brushes", "points", "last_frame", "negative", "steps", "guidance", "loras", "extend")


@router.get("/film")
def film(request: Request, who: VisitorDep, model: str | None = None) -> Response:
    """htmx asks for the queue alone, every second while something is made."""
    if "hx-request" in request.headers:
        return page(request, "parts/film_queue.html", **_films(film_of(request), who.actor))
    return _page(request, who.actor, {} if model is None else {"model": model})


@router.post("/film/line", dependencies=OWN_FORM)
def steer(request: Request, who: VisitorDep, do: Annotated[str, Form()]) -> Response:
    """Pause the whole line, or let it go on: for administrators."""
    here = film_of(request)
    person(who.actor, Access.WRITE)
    (pause_all if do == "pause" else go_on_all)(here, who.actor)
    if "hx-request" in request.headers:
        return page(request, "parts/film_queue.html", **_films(here, who.actor))
    return go("/film#being-made")


@router.post("/film/line/{film}", dependencies=OWN_FORM)
def move(request: Request, who: VisitorDep, film: str, do: Annotated[str, Form()],
         back: Annotated[str, Form()] = "line") -> Response:
    """A verb of _film_line.do, from a button of the line or of the film's own page. For htmx the line alone comes
    back, with what went wrong."""
    here, account = film_of(request), person(who.actor, Access.WRITE)
    try:
        kept = carry_out(here, who.actor, account, segment(film), do)
    except HeadwaterError as error:
        if "hx-request" not in request.headers or error.status in (401, 403):
            raise
        return page(request, "parts/film_queue.html", **_films(here, who.actor) | {"problem": error})
    if "hx-request" in request.headers:
        return page(request, "parts/film_queue.html", **_films(here, who.actor))
    return go(f"/film/watch/{kept.id}" if back == "film" else "/film#being-made")


@router.post("/film", dependencies=OWN_FORM)
async def make(request: Request, who: VisitorDep) -> Response:
    here, said = film_of(request), {}
    try:
        person(who.actor, Access.WRITE)
        said, files = await form_of(request, here, PHOTO_MAX, "photo", "last")
        kept = await asyncio.to_thread(_order, request, who.actor, said, files)
    except HeadwaterError as error:
        if error.status in (401, 403):
            raise
        return await asyncio.to_thread(_page, request, who.actor, said, problem=error, status=error.status)
    return go(f"/film/watch/{kept.id}")


@router.post("/film/plan", dependencies=OWN_FORM)
async def planned(request: Request, who: VisitorDep) -> Response:
    """What the form as it stands would make: a part of the page. A smaller picture of the same shape may stand for the
    photo."""
    here = film_of(request)
    person(who.actor)
    try:
        said, files = await form_of(request, here, PHOTO_MAX, "photo", "last")
    except HeadwaterError as error:
        return page(request, "parts/film_plan.html", problem=error, planned=None, can=None, offers="")
    data = await asyncio.to_thread(_plan, request, who.actor, said, files)
    return page(request, "parts/film_plan.html", **data, offers=_offers(data["can"]))


@router.post("/film/points", dependencies=OWN_FORM)
async def points(request: Request, who: VisitorDep) -> Response:
    """Where faces are seen in the photo of the form, as JSON {"points": {name: [x, y]}} or {"problem"}."""
    here = film_of(request)
    person(who.actor)
    try:
        said, files = await form_of(request, here, PHOTO_MAX, "photo")
        if not files:
            raise BadInput("There is no photo to look at.")
        wants = {name: value for name, value in said.items() if name in ("model", "prompt", "size")}
        found = await asyncio.to_thread(_find, here, who.actor, wants, files["photo"])
    except HeadwaterError as error:
        return JSONResponse({"problem": f"{error.message} {error.hint or ''}".strip()}, error.status)
    return JSONResponse({"points": found}, headers={"Cache-Control": "no-store"})


def _find(here: Film, actor: Actor, said: dict[str, str], photo: Staged) -> dict[str, Point]:
    try:
        return find_points(here, actor, asked_of(here, said), photo)
    finally:
        forget(photo)


def _order(request: Request, actor: Actor, said: dict[str, str], files: dict[str, Staged]) -> KeptFilm:
    here, asked, photo = film_of(request), None, files.get("photo")
    try:
        asked = asked_of(here, said, files.get("last"))
        asked = replace(asked, people=said.get("people") if photo else None, sender=sender_of(request))
        if photo is not None and asked.people not in ANSWERS:
            raise BadInput(_gettext(request)("Say whether people can be recognised in the photo, and agree."))
    except BaseException:
        forget(*files.values(), *(asked.staged if asked else ()))
        raise
    return order(here, actor, person(actor, Access.WRITE), asked, photo)  # consumes the pictures


def _plan(request: Request, actor: Actor, said: dict[str, str], files: dict[str, Staged]) -> dict[str, Any]:
    """What parts/film_plan.html names. Without a photo and words there is nothing to plan, only a model to tell of."""
    here, app, photo = film_of(request), app_of(request), files.get("photo")
    asked, can, problem = None, None, None
    try:
        can = offered(here, actor, said.get("model", ""), photo is not None)
        if photo is None and not said.get("prompt", "").strip():
            return {"problem": None, "planned": None, "can": can}
        asked = asked_of(here, said, files.get("last"))
        normalised = plan(here, actor, asked, photo)
        made = normalised.request
        return {"problem": None, "planned": normalised, "takes": estimate(here, normalised), "can": can,
                "generates": can.generates, "made_by": maker(request, made.engine, made.model),
                "terms": terms(app.hub, app.trace, actor, made.model, made.revision)}
    except HeadwaterError as error:
        if error.status in (401, 403):
            raise
        problem = error
    finally:
        forget(*files.values(), *(asked.staged if asked else ()))
    return {"problem": problem, "planned": None, "can": can}


def _page(request: Request, actor: Actor, said: dict[str, str], *,
          problem: HeadwaterError | None = None, status: int = 200) -> Response:
    here = film_of(request)
    if actor.account is None or actor.repos is not None:
        return page(request, "film.html", signed_in=False)
    makers = _makers(request, here, actor)
    lacking = [(engine.name, why) for engine in here.engines if (why := engine.available())]
    said["model"] = said.get("model", "")[:NAME_MAX] or next(iter(makers), "")
    makers.setdefault(said["model"], said["model"])  # at a revision, or by an engine that cannot run here
    can, unable = _can(here, actor, said["model"])
    return page(request, "film.html", status=status, signed_in=True, said=defaultdict(str, said),
                axes=AXES, sizes=SIZES, rates=RATES, makers=makers, photo_max=PHOTO_MAX,
                planned=None, can=can, unable=unable, lacking=lacking, offers=_offers(can), tells=_words(request),
                **_films(here, actor) | {"problem": problem})


def _makers(request: Request, here: Film, actor: Actor) -> dict[str, str]:
    """What can make a film here, by the name a form sends: what is built in first, then the hub's models. An engine
    that is built in and takes a model of the hub stands there once, with its model."""
    found, models = {}, find_all(here, actor)
    for name in BUILT_IN:
        own = [one.repo.full_name for one in models if one.engine == name]
        engine = here.engines[name] if name in here.engines.names() else None
        if not own and engine and engine.available() is None and not engine.describe(None).needs_model:
            found[f"headwater/{name}"] = maker(request, name, "")
        # The usual model needs no name in a narrow list: what it is for stands in the plan.
        found |= {model: maker(request, name, "" if engine and model == engine.usual else model) for model in own}
    return found | {one.repo.full_name: maker(request, one.engine, one.repo.full_name)
                    for one in models if one.engine not in BUILT_IN}


def _can(here: Film, actor: Actor, model: str) -> tuple[Capabilities | None, HeadwaterError | None]:
    """(what its engine can do, None), or (None, why the model cannot make a film here)."""
    try:
        return offered(here, actor, model, True), None
    except HeadwaterError as error:
        return None, error


def _offers(can: Capabilities | None) -> str:
    """The controls that have an effect and the kinds of film, in words the page marks its fields with."""
    return " ".join([name for name in CONTROLS if can and getattr(can, name)] + sorted(can.kinds if can else ()))


def _films(here: Film, actor: Actor) -> dict[str, Any]:
    account = person(actor)
    done, more = here.films.page(account.id, state="done", limit=EACH)
    ended = [kept for state in ("failed", "cancelled")
             for kept in here.films.page(account.id, state=state, limit=LATELY)[0]]
    return {"problem": None, "line": line_of(here, actor, account), "done": done, "more": more,
            "ended": sorted(ended, key=lambda kept: -kept.created_at)[:LATELY]}


def _words(request: Request) -> dict[str, str]:
    """What the scripts say, in the visitor's language."""
    _ = _gettext(request)
    return {"no_picture": _("This is no picture the browser can show; it may still be one the hub can read."),
            "too_large": _("The photo is too large: at most {size} are taken."),
            "offline": _("The hub did not answer."),
            "area": _("Area {n}"), "still": _("Keeps still"),
            "painted": _("{area}: {share} % of the photo, a way of {points} points"),
            "no_way": _("{area}: {share} % of the photo; draw the way it takes"),
            "keeps": _("{area}: {share} % of the photo"), "nothing": _("{area}: nothing painted yet"),
            "at": _("{x} % from the left, {y} % from the top"),
            "looking": _("Looking for faces"), "faces": _("{n} points on {faces} faces: move those that sit wrong."),
            "no_face": _("No face was found. Put these points on one, and it is looked for there."),
            "left_eye": _("Left eye"), "right_eye": _("Right eye"), "nose": _("Nose"), "mouth": _("Mouth"),
            "chin": _("Chin"), "face": _("Face {n}")}


def _gettext(request: Request) -> Any:
    return request.state.visitor.words.gettext

