"""Which of two films is better, by people who do not see what made them. Thin over film/versus.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.request import body_schema, read_body
from headwater.api.person import need_person
from headwater.core.errors import Forbidden, NotFound
from headwater.core.types import Access
from headwater.film.versus import MEASURED_FROM, VOTES_MAX, Score, chosen, draw, name_of, results, vote

router = APIRouter(prefix="/api/headwater/film-votes", tags=["headwater: films"])
FilmId = Annotated[str, Field(min_length=1, max_length=100)]


class ScoreShown(BaseModel):
    """Of the votes on `model` against `other` (null: against all): won, lost, ties, both bad. share and its exact 95 %
    interval are of the n that preferred one; null while n is below `measured_from`."""

    model: str
    other: str | None
    won: int
    lost: int
    ties: int
    bad: int
    n: int
    share: float | None
    interval: tuple[float, float] | None


class Results(BaseModel):
    votes: int
    measured_from: int
    models: list[ScoreShown]
    pairs: list[ScoreShown]


class PairShown(BaseModel):
    """a, b: the films' ids, in no order that means anything; left and right: where each film lies."""

    a: str
    b: str
    seed: int
    prompt: str
    left: str
    right: str


class VoteBody(BaseModel):
    """a, b and seed as GET .../pair said them; said: which was better."""

    model_config = ConfigDict(strict=True, extra="forbid", title="FilmVote")
    a: FilmId
    b: FilmId
    seed: Annotated[int, Field(ge=0, lt=2**53)]
    said: Literal["left", "right", "tie", "bad"]


class Voted(BaseModel):
    said: str
    left: str
    right: str


async def vote_body(request: Request) -> VoteBody:
    return await read_body(request, VoteBody)


@router.get("")
def film_results(request: Request, actor: ActorDep, everyone: bool = False) -> Results:
    """What your votes come to; everyone=true: those of all people, for administrators."""
    account, film = need_person(actor), get_app(request).film
    if everyone and not actor.is_admin:
        raise Forbidden("Only administrators see everybody's votes.", hint="Ask without everyone.")
    votes = film.votes.all(None if everyone else account.id, limit=VOTES_MAX)
    models, pairs = results(votes)
    return Results(votes=len(votes), measured_from=MEASURED_FROM, models=[_shown(one) for one in models],
                   pairs=[_shown(one) for one in pairs])


@router.get("/pair")
def film_pair(request: Request, actor: ActorDep, a: Annotated[str | None, Query(max_length=100)] = None,
              b: Annotated[str | None, Query(max_length=100)] = None) -> PairShown:
    """Two films of yours to look at: with the same words and photo by different models, or a and b. 404 when there are
    none you have not voted on."""
    account, film = need_person(actor), get_app(request).film
    pair = chosen(film, account, a, b) if a and b else draw(film, account)
    if pair is None:
        raise NotFound("There are no two films of one prompt by different models that you have not voted on.",
                       hint="Order the same words from two models, or name two films as a and b.")
    return PairShown(a=pair.a.id, b=pair.b.id, seed=pair.seed, prompt=pair.left.asked["prompt"],
                     left=f"/v1/videos/{pair.left.id}/content", right=f"/v1/videos/{pair.right.id}/content")


@router.post("", status_code=201, openapi_extra={"requestBody": {"required": True, "content": {
    "application/json": {"schema": body_schema(VoteBody)}}}})
def vote_on_films(request: Request, actor: ActorDep, body: Annotated[VoteBody, Depends(vote_body)]) -> Voted:
    """Say which was better, once for a pair; the answer says what made each. 409 for a second vote."""
    account, film = need_person(actor, Access.WRITE), get_app(request).film
    pair = chosen(film, account, body.a, body.b, body.seed)
    cast = vote(film, account, pair, body.said)
    named: dict[str, Any] = {pair.a.id: name_of(cast.made_a), pair.b.id: name_of(cast.made_b)}
    return Voted(said=body.said, left=named[pair.left.id], right=named[pair.right.id])


def _shown(score: Score) -> ScoreShown:
    return ScoreShown(model=score.name, other=score.other or None, won=score.won, lost=score.lost, ties=score.ties,
                      bad=score.bad, n=score.n, share=score.share, interval=score.interval)
