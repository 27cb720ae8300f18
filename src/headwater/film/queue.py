"""The line of films that wait: who is where in it and when it will be made; move, hold, change, finish early.

The line itself is the jobs' (jobs/line.py): a film waits as long as its job does. One orders one's own films among the
places they have; an administrator orders everybody's. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwater.core.errors import BadInput, Conflict, Forbidden, HeadwaterError, NotFound
from headwater.core.types import Account, Actor, Job, JobState, KeptFilm
from headwater.film import Film
from headwater.film.elsewhere import HERE, THERE
from headwater.film.learned import Learned
from headwater.film.order import asked_again, checked, find, forget, plain, settled, title_of

LINES = (HERE, THERE)
CHANGEABLE = frozenset({"prompt", "negative", "seconds", "fps", "size", "steps", "guidance", "seed", "preset",
                        "camera", "badge"})
"""What of an order that waits may be changed, by the names of order.Asked."""


@dataclass(frozen=True)
class Standing:
    """place: 1 is the next to be made, 0 is being made; of: how many wait. held: it waits until it is let go.

    left_s: seconds until it is made, those before it included; None while that is not known, or it is held."""

    place: int
    of: int
    held: bool
    left_s: float | None


def standings(film: Film) -> dict[str, Standing]:
    """Of every film under way, by its id; of what other servers make, within the line of those."""
    return {name: standing for kind in LINES for name, standing in _line(film, kind).items()}


def _line(film: Film, kind: str) -> dict[str, Standing]:
    waiting = film.jobs.waiting(kind)
    running = film.jobs.list(state=JobState.RUNNING.value, kind=kind, limit=10)
    stopped = kind in film.jobs.paused()
    learned = Learned(film) if waiting or running else None
    found: dict[str, Standing] = {}
    before: float | None = 0.0
    for job in running:
        takes = _takes(film, learned, job)
        left = None if takes is None else takes * (1 - min(1.0, job.done / job.total if job.total else 0.0))
        found[job.payload["film_id"]] = Standing(0, len(waiting), False, left)
        before = None if before is None or left is None else before + left
    for number, job in enumerate(waiting, 1):
        takes = None if job.held or before is None else _takes(film, learned, job)
        if not job.held:
            before = None if before is None or takes is None else before + takes
        left = None if job.held or stopped else before
        found[job.payload["film_id"]] = Standing(number, len(waiting), job.held, left)
    return found


def is_paused(film: Film) -> bool:
    """Whether the whole line is."""
    return HERE in film.jobs.paused()


def find_any(film: Film, actor: Actor, account: Account, film_id: str) -> KeptFilm:
    """One's own film, or for an administrator anybody's. Raises NotFound."""
    try:
        return find(film, account, film_id)
    except NotFound:
        if not actor.is_admin or not film_id.isascii() or not film_id.isprintable() or len(film_id) > 100:
            raise
        kept = film.films.get(film_id)
        if kept is None:
            raise
        return settled(film, kept)


def move(film: Film, actor: Actor, kept: KeptFilm, *, before: str | None = None, after: str | None = None,
         to: str | None = None) -> None:
    """Before or after the film of that id, or to the "top" or "end". Whoever is no administrator moves it among the
    places of their own films. Raises Conflict when it does not wait any more, BadInput, NotFound."""
    if [before, after, to].count(None) != 2 or to not in (None, "top", "end"):
        raise BadInput("A film is moved before or after another, or to the top or the end.")

    def rule(waiting: list[Job]) -> Sequence[Job]:
        me = _job_in(waiting, kept.id)
        if me is None:
            raise Conflict(f"The film waits no more: it is {kept.state}.")
        slots = [number for number, job in enumerate(waiting) if actor.is_admin or job.actor == me.actor]
        line = [waiting[number] for number in slots]
        line.remove(me)
        at = 0 if to == "top" else len(line)
        if other := before or after:
            there = _job_in(line, other)
            if there is None:
                raise NotFound(f"No film {other[:100]!r} of yours waits.", hint="It may be under way, or done.")
            at = line.index(there) + (after is not None)
        line.insert(at, me)
        placed = dict(zip(slots, line, strict=True))
        return [placed.get(number, job) for number, job in enumerate(waiting)]

    job = film.jobs.get(_job_id(kept))
    film.jobs.rearrange(job.kind if job else HERE, rule)


def hold(film: Film, kept: KeptFilm) -> KeptFilm:
    """It keeps its place and is not made until it is let go. One under way stops at its next step and begins anew
    when it is let go: seed and revision are fixed, so it becomes the same film. Raises Conflict when it is over."""
    job, now = film.jobs.hold(_job_id(kept)), film.films.get(kept.id) or kept
    if job is not None and job.state is JobState.QUEUED and now.state == "running":
        now = film.films.update(kept.id, state="queued") or now  # nobody takes a held job or writes beside this
    return settled(film, now)


def let_go(film: Film, kept: KeptFilm) -> KeptFilm:
    film.jobs.hold(_job_id(kept), False)
    return settled(film, film.films.get(kept.id) or kept)


def pause_all(film: Film, actor: Actor) -> None:
    """No film is begun until go_on_all, also after a restart; those under way are made. Raises Forbidden."""
    for kind in LINES:
        film.jobs.pause(kind, _admin(actor).name)


def go_on_all(film: Film, actor: Actor) -> None:
    _admin(actor)
    for kind in LINES:
        film.jobs.go_on(kind)


def change(film: Film, actor: Actor, account: Account, kept: KeptFilm, changes: dict[str, Any], *,
           edition: int | None = None) -> KeptFilm:
    """An order that waits, with some fields of Asked changed, checked by its engine as a new one is. edition: the one
    that was seen when the change was thought of; None takes what there is.

    Raises Conflict when it is under way or somebody else changed it meanwhile; BadInput and others as order().
    """
    if wrong := sorted(set(changes) - CHANGEABLE):
        raise BadInput(f"{wrong[0][:50]}: cannot be changed.", hint=f"What can: {', '.join(sorted(CHANGEABLE))}.")
    if kept.asked.get("extends") and {"size", "fps"} & set(changes):
        raise BadInput("A film that goes on where another ended keeps its size and pace.")
    if kept.state != "queued":
        raise Conflict(f"The film is {kept.state} and cannot be changed any more.",
                       hint="Order it again with other words; pause one under way to change it.")
    if edition is not None and edition != kept.edition:
        raise _changed()
    asked, photo = asked_again(film, account, kept, changes, copies=False)
    try:
        asked = replace(asked, seed=asked.seed if "seed" in changes else kept.asked["seed"])
        normalised = checked(film, actor, account, asked, photo)
    finally:
        forget(asked, photo)
    files = {name: kept.asked[name] for name in ("brushes", "last", "callback", "extends") if name in kept.asked}
    new = film.films.change(kept.id, kept.edition, asked=plain(film, normalised, asked) | files)
    if new is None:
        now = find(film, account, kept.id)
        raise _changed() if now.edition != kept.edition else Conflict(
            "The film is under way now and cannot be changed.", hint="Pause it first, or order it again.")
    if new.job_id:
        film.jobs.rename(new.job_id, title_of(new))
    return new


def _changed() -> HeadwaterError:
    return Conflict("Somebody changed this order meanwhile.", hint="Look at it again, then change it.")


def _job_id(kept: KeptFilm) -> str:
    if kept.state not in ("queued", "running") or kept.job_id is None:
        raise Conflict(f"The film is {kept.state} already.")
    return kept.job_id


def _job_in(jobs: Sequence[Job], film_id: str) -> Job | None:
    return next((job for job in jobs if job.payload["film_id"] == film_id), None)


def _takes(film: Film, learned: Learned | None, job: Job) -> float | None:
    """Seconds of its making: by what was learned, else as its engine said when it was ordered."""
    kept = film.films.get(job.payload["film_id"])
    if kept is None or learned is None:
        return 0.0
    expected = kept.asked.get("expected") or {}
    rates = learned.rates(kept.asked["engine"], kept.asked["model"], kept.asked["steps"])
    if rates is not None and expected.get("work"):
        return rates.middle * float(expected["work"])
    return expected.get("seconds")


def _admin(actor: Actor) -> Account:
    if actor.account is None or not actor.is_admin:
        raise Forbidden("Only an administrator of this hub may pause the whole line.",
                        hint="Pause your own films one by one.")
    return actor.account
