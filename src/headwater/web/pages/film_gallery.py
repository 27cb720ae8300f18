"""All films of one's own: found by words, by what made them, by what became of them. Knows records; makes nothing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.core.types import Account
from headwater.film import Film
from headwater.film.order import BUILT_IN
from headwater.web.pages._film import film_of, maker, person
from headwater.web.site import VisitorDep, page

router = APIRouter()
EACH = 24
STATES = ("done", "failed", "cancelled")
WORDS_MAX = 200


@router.get("/film/gallery")
def gallery(request: Request, who: VisitorDep, q: str = "", model: str = "", state: str = "done",
            after: str = "") -> Response:
    if who.actor.account is None or who.actor.repos is not None:
        return page(request, "film_gallery.html", signed_in=False)
    here, account = film_of(request), person(who.actor)
    chosen = state if state in STATES else "done"
    films, more = here.films.page(account.id, state=chosen, after=after or None, limit=EACH,
                                  words=q.strip()[:WORDS_MAX].split(), model=model[:WORDS_MAX])
    return page(request, "film_gallery.html", signed_in=True, films=films, more=more, q=q, model=model, state=chosen,
                states=STATES, models=_makers(request, here, account), later=bool(after))


def _makers(request: Request, here: Film, account: Account) -> dict[str, str]:
    """What made one's films, by the names they are found by."""
    usual = {engine.usual: engine.name for engine in here.engines if engine.usual}
    built_in = {f"headwater/{name}": name for name in BUILT_IN}
    return {name: maker(request, built_in[name], "") if name in built_in else maker(request, usual.get(name, ""), name)
            for name in here.films.models(account.id)}
