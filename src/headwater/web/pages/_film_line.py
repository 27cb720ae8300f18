"""The line of films as the pages show it, and the verbs their buttons name. Thin over film/queue.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headwater.core.errors import BadInput, Conflict
from headwater.core.types import Account, Actor, KeptFilm
from headwater.film import Film
from headwater.film import queue as line
from headwater.film.make import finish
from headwater.film.order import again, cancel
from headwater.web.pages._film import Shown, shown


@dataclass(frozen=True)
class Line:
    """films: those under way first, then those that wait, in their order; one's own, everybody's for an administrator.
    waiting: how many of everybody's wait. paused: whether the whole line is. steers: whether the visitor may pause
    it."""

    films: tuple[Shown, ...]
    waiting: int
    paused: bool
    steers: bool


def line_of(film: Film, actor: Actor, account: Account) -> Line:
    standings = line.standings(film)
    films = []
    for film_id, standing in standings.items():
        kept = film.films.get(film_id)
        if kept is not None and (actor.is_admin or kept.account_id == account.id):
            owner = None if kept.account_id == account.id else film.find_account(kept.account_id)
            one = shown(film, kept, standing, owner.name if owner else None)
            if one.going:
                films.append(one)
    return Line(tuple(films), max((one.of for one in standings.values()), default=0), line.is_paused(film),
                actor.is_admin)


def do(film: Film, actor: Actor, account: Account, film_id: str, what: str) -> KeptFilm:
    """The film the verb was for; of "again" the new one. Raises BadInput for a verb that is none, Conflict when it
    comes too late, NotFound."""
    kept = line.find_any(film, actor, account, film_id)
    verbs: dict[str, Callable[[], object]] = {
        "up": lambda: _step(film, actor, account, kept, -1), "down": lambda: _step(film, actor, account, kept, 1),
        "top": lambda: line.move(film, actor, kept, to="top"), "hold": lambda: line.hold(film, kept),
        "go-on": lambda: line.let_go(film, kept), "finish": lambda: finish(film, kept),
        "cancel": lambda: cancel(film, kept)}
    if what == "again":
        return again(film, actor, account, kept)
    if what not in verbs:
        raise BadInput(f"There is no {what[:40]!r} to do with a film.")
    verbs[what]()
    return kept


def _step(film: Film, actor: Actor, account: Account, kept: KeptFilm, by: int) -> None:
    """One place up or down among those the visitor sees; at an end nothing."""
    waiting = [one.film.id for one in line_of(film, actor, account).films if one.film.state == "queued"]
    if kept.id not in waiting:
        raise Conflict(f"The film waits no more: it is {kept.state}.")
    at = waiting.index(kept.id) + by
    if 0 <= at < len(waiting):
        line.move(film, actor, kept, **({"before": waiting[at]} if by < 0 else {"after": waiting[at]}))
