"""Two films side by side without their names: which is better, and what all such votes come to.

Knows film/versus.py and HTTP. Which film is on which side follows from the seed in the form, which is kept with the
vote; what made them is on the page only once there is a vote.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import HeadwaterError
from headwater.core.types import Access, Account, Actor, FilmVote
from headwater.film import Film
from headwater.film.versus import MEASURED_FROM, VOTES_MAX, Pair, chosen, draw, made, name_of, results, vote
from headwater.web.pages._film import film_of, person
from headwater.web.site import OWN_FORM, VisitorDep, go, page

router = APIRouter()
CHOICES_MAX = 100


@router.get("/film/compare")
def compare(request: Request, who: VisitorDep, a: str = "", b: str = "", seed: str = "") -> Response:
    """A pair that is drawn, or a and b."""
    here = film_of(request)
    if who.actor.account is None:
        return page(request, "film_compare.html", signed_in=False)
    account = person(who.actor)
    try:
        pair = chosen(here, account, a, b, _number(seed)) if a or b else draw(here, account)
    except HeadwaterError as error:
        return _page(request, here, who.actor, account, None, problem=error)
    return _page(request, here, who.actor, account, pair)


@router.post("/film/compare", dependencies=OWN_FORM)
def say(request: Request, who: VisitorDep, a: Annotated[str, Form()] = "", b: Annotated[str, Form()] = "",
        seed: Annotated[str, Form()] = "", said: Annotated[str, Form()] = "") -> Response:
    here, account, pair = film_of(request), person(who.actor, Access.WRITE), None
    try:
        pair = chosen(here, account, a, b, _number(seed))
        vote(here, account, pair, said)
    except HeadwaterError as error:
        return _page(request, here, who.actor, account, pair, problem=error)
    return go(f"/film/compare?a={pair.a.id}&b={pair.b.id}&seed={pair.seed}")


def _page(request: Request, here: Film, actor: Actor, account: Account, pair: Pair | None,
          problem: HeadwaterError | None = None) -> Response:
    cast = here.votes.find(account.id, pair.a.id, pair.b.id) if pair else None
    votes = here.votes.all(None if actor.is_admin else account.id, limit=VOTES_MAX)
    models, pairs = results(votes)
    films = made(here, account)
    data: dict[str, Any] = {
        "pair": pair if cast is None or pair is None else Pair(pair.a, pair.b, cast.seed),  # as it was when it was seen
        "cast": cast, "votes": len(votes), "models": models, "pairs": pairs, "measured_from": MEASURED_FROM,
        "films": films[:CHOICES_MAX], "problem": problem, "everyone": actor.is_admin}
    data["named"] = _named(data["pair"], cast) if cast and pair else None
    return page(request, "film_compare.html", status=problem.status if problem else 200, signed_in=True, **data)


def _named(pair: Pair, cast: FilmVote) -> list[tuple[str, bool]]:
    """(what made it, whether it was preferred) of the left film and of the right one."""
    by = {pair.a.id: (name_of(cast.made_a), cast.said == "a"), pair.b.id: (name_of(cast.made_b), cast.said == "b")}
    return [by[pair.left.id], by[pair.right.id]]


def _number(text: str) -> int | None:
    """None for what is no whole number: then a new one is drawn."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 16 else None
