"""The line of films: who is where, and every verb of an order. Thin over film/queue.py and film/order.py.

One sees and orders one's own films; an administrator everybody's.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from headwater.api.deps import ActorDep, get_app
from headwater.api.person import need_person
from headwater.core.errors import NotFound
from headwater.core.types import Access, Account, Actor, KeptFilm
from headwater.film import Film
from headwater.film import queue as line
from headwater.film.extend import extend
from headwater.film.make import finish
from headwater.film.order import again, cancel, job_of

router = APIRouter(prefix="/api/headwater/films", tags=["headwater: films"])


ASKED = ("engine", "model", "revision", "prompt", "negative", "seconds", "fps", "width", "height", "seed", "steps",
         "guidance", "preset", "camera", "notes")
"""Of a film's record, what is shown as it stands."""


class Waits(BaseModel):
    """place: 1 is the next to be made, 0 is being made; of: how many wait. Films that other servers make have a line of
    their own. left_s: seconds until it is made, those before it included; null while that is not known, or it is held.
    """

    place: int
    of: int
    held: bool
    left_s: float | None


class FilmShown(BaseModel):
    """state: queued, running, done, failed or cancelled. seconds: as asked. notes: what was changed or has no effect.
    draft: what a film that was finished early has of what was asked. people: who is in its photo, none (nobody can be
    recognised) or agreed; null where nobody said, or there is no photo. waits: null once it is over."""

    id: str
    account: str
    state: str
    engine: str
    model: str
    revision: str
    prompt: str
    negative: str
    seconds: float
    fps: int
    width: int
    height: int
    seed: int
    steps: int | None
    guidance: float | None
    preset: str
    camera: dict[str, float]
    badge: str
    people: str | None
    notes: list[str]
    edition: int
    stage: str | None
    done: int | None
    total: int | None
    remixed_from: str | None
    extends: str | None
    error: str | None
    draft: str | None
    created_at: float
    finished_at: float | None
    waits: Waits | None


class LineShown(BaseModel):
    """paused: no film is begun. films: those under way first, then those that wait, in their order; only one's own,
    all of them for an administrator."""

    paused: bool
    waiting: int
    films: list[FilmShown]


class Changes(BaseModel):
    """What is left out, or null, stays. edition: of the order as it was seen; another one since is refused."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = Field(None, max_length=20_000)
    negative: str | None = Field(None, max_length=20_000)
    seconds: float | None = Field(None, allow_inf_nan=False)
    fps: int | None = None
    width: int | None = Field(None, ge=1, le=100_000)
    height: int | None = Field(None, ge=1, le=100_000)
    steps: int | None = Field(None, ge=1, le=10_000)
    guidance: float | None = Field(None, allow_inf_nan=False, ge=-1e6, le=1e6)
    seed: int | None = None
    preset: Literal["draft", "normal", "best"] | None = None
    camera: dict[str, float] | None = None
    badge: Literal["", "en", "zh"] | None = None
    edition: int | None = None


class Move(BaseModel):
    """One of the three. Whoever is no administrator moves a film among the places their own films have."""

    before: str | None = Field(None, max_length=100)
    after: str | None = Field(None, max_length=100)
    to: Literal["top", "end"] | None = None


class Duplicate(BaseModel):
    """seed: null draws a new one."""

    seed: int | None = None


class Extension(BaseModel):
    """seconds: of what is added. model: another one than made the film. people: as the film has it, unless said."""

    prompt: str | None = Field(None, max_length=20_000)
    seconds: float | None = Field(None, allow_inf_nan=False)
    seed: int | None = None
    model: str | None = Field(None, max_length=300)
    preset: Literal["draft", "normal", "best"] | None = None
    people: Literal["none", "agreed"] | None = None


@router.get("/queue")
def film_queue(request: Request, actor: ActorDep) -> LineShown:
    """Films under way and waiting, in their order."""
    account, film = need_person(actor), get_app(request).film
    standings = line.standings(film)
    films = []
    for film_id in standings:
        kept = film.films.get(film_id)
        if kept is not None and (actor.is_admin or kept.account_id == account.id):
            films.append(shown(film, kept, standings))
    return LineShown(paused=line.is_paused(film), films=films,
                     waiting=sum(one.place > 0 for one in standings.values()))


@router.post("/queue/pause")
def pause_queue(request: Request, actor: ActorDep) -> LineShown:
    """Begin no film until the line goes on, also after a restart; those under way are made. For administrators."""
    need_person(actor, Access.WRITE)
    line.pause_all(get_app(request).film, actor)
    return film_queue(request, actor)


@router.post("/queue/resume")
def resume_queue(request: Request, actor: ActorDep) -> LineShown:
    """Let the line go on. For administrators."""
    need_person(actor, Access.WRITE)
    line.go_on_all(get_app(request).film, actor)
    return film_queue(request, actor)


@router.get("/{film_id}")
def get_film(film_id: str, request: Request, actor: ActorDep) -> FilmShown:
    account, film = need_person(actor), get_app(request).film
    kept = line.find_any(film, actor, account, film_id)
    return shown(film, kept, line.standings(film) if kept.state in ("queued", "running") else {})


@router.patch("/{film_id}")
def change_film(film_id: str, body: Changes, request: Request, actor: ActorDep) -> FilmShown:
    """Change an order that waits; it is checked anew and keeps its place. 409 once it is under way, or when its
    edition is another."""
    said = body.model_dump(exclude_none=True)
    edition, width, height = said.pop("edition", None), said.pop("width", None), said.pop("height", None)

    def changed(film: Film, account: Account, kept: KeptFilm) -> KeptFilm:
        if width or height:
            said["size"] = (width or kept.asked["width"], height or kept.asked["height"])
        return line.change(film, actor, account, kept, said, edition=edition)

    return _done(request, actor, film_id, changed)


@router.post("/{film_id}/move")
def move_film(film_id: str, body: Move, request: Request, actor: ActorDep) -> FilmShown:
    """To another place in the line."""

    def moved(film: Film, account: Account, kept: KeptFilm) -> KeptFilm:
        line.move(film, actor, kept, before=body.before, after=body.after, to=body.to)
        return kept

    return _done(request, actor, film_id, moved)


@router.post("/{film_id}/pause")
def pause_film(film_id: str, request: Request, actor: ActorDep) -> FilmShown:
    """It keeps its place and waits. One under way stops at its next step, and begins anew when it is resumed."""
    return _done(request, actor, film_id, lambda film, account, kept: line.hold(film, kept))


@router.post("/{film_id}/resume")
def resume_film(film_id: str, request: Request, actor: ActorDep) -> FilmShown:
    return _done(request, actor, film_id, lambda film, account, kept: line.let_go(film, kept))


@router.post("/{film_id}/cancel")
def cancel_film(film_id: str, request: Request, actor: ActorDep) -> FilmShown:
    """409 when there is nothing to stop."""
    return _done(request, actor, film_id, lambda film, account, kept: cancel(film, kept))


@router.post("/{film_id}/finish")
def finish_film(film_id: str, request: Request, actor: ActorDep) -> FilmShown:
    """Stop here and keep the draft: the steps that are left are skipped. 409 unless it is under way."""

    def finished(film: Film, account: Account, kept: KeptFilm) -> KeptFilm:
        finish(film, kept)
        return kept

    return _done(request, actor, film_id, finished)


@router.post("/{film_id}/duplicate")
def duplicate_film(film_id: str, request: Request, actor: ActorDep, body: Duplicate | None = None) -> FilmShown:
    """Order the same again with a new seed, or the one that is said: a new film, at its place in the line."""
    seed = body.seed if body else None
    changed: dict[str, Any] = {} if seed is None else {"seed": seed}
    return _done(request, actor, film_id, lambda film, account, kept: again(film, actor, account, kept, **changed))


@router.post("/{film_id}/extend")
def extend_film(film_id: str, body: Extension, request: Request, actor: ActorDep) -> FilmShown:
    """Go on from its last frame: a new film, with the frames of both. What is left out is as it was."""
    said = body.model_dump(exclude_none=True)
    return _done(request, actor, film_id, lambda film, account, kept: extend(film, actor, account, kept, **said))


def shown(film: Film, kept: KeptFilm, standings: dict[str, line.Standing]) -> FilmShown:
    asked, going = kept.asked, kept.state in ("queued", "running")
    job, standing = job_of(film, kept) if going else None, standings.get(kept.id)
    owner = film.find_account(kept.account_id)
    return FilmShown(
        id=kept.id, account=owner.name if owner else "", state=kept.state, badge=asked.get("badge", ""),
        people=asked.get("people") or None, edition=kept.edition, stage=job.stage if job else None,
        done=job.done if job else None, total=job.total if job else None, remixed_from=kept.remixed_from,
        extends=(asked.get("extends") or {}).get("film") or None, error=kept.error,
        draft=(kept.receipt or {}).get("draft"), created_at=kept.created_at, finished_at=kept.finished_at,
        waits=Waits(**vars(standing)) if standing and going else None,
        **{name: asked[name] for name in ASKED})


def _done(request: Request, actor: Actor, film_id: str, verb: Any) -> FilmShown:
    account, film = need_person(actor, Access.WRITE), get_app(request).film
    kept = line.find_any(film, actor, account, film_id)
    owner = film.find_account(kept.account_id)
    if owner is None:
        raise NotFound("Nobody owns this film any more.")
    # What is stored and counted is the owner's, also where an administrator acts.
    after = verb(film, owner, kept)
    return shown(film, film.films.get(after.id) or after, line.standings(film))
