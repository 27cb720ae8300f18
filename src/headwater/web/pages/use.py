"""How to use a repo: from the terminal, from Python, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from headwater.core.errors import HeadwaterError
from headwater.film.order import offered
from headwater.hub import browse
from headwater.hub.accounts import is_open
from headwater.web import highlight
from headwater.web.pages._repo import Place, PlaceDep, film_model, repo_page, talk_model
from headwater.web.site import HubDep, Visitor, VisitorDep, app_of, base_url
from headwater.web.snippets import snippets

router = APIRouter()


@router.get("/{owner}/{name}/use")
@router.get("/datasets/{owner}/{name}/use")
def use(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep) -> Response:
    talk = talk_model(request, here)
    needs_token = here.repo.private or not is_open(hub)
    found = snippets(here.repo, browse.files(hub, here.commit), base_url(request), talk, needs_token=needs_token,
                     films=_films(request, who, here))
    groups = [(key, [(s, Markup(highlight.colour(s.text, s.language))) for s in found if s.key == key])
              for key in dict.fromkeys(s.key for s in found)]
    return repo_page(request, "use.html", hub, here, "use", groups=groups, needs_token=needs_token)


def _films(request: Request, who: Visitor, here: Place) -> tuple[str, bool] | None:
    """(the name a film is ordered by, whether it begins with a photo); None where none can be made with it here."""
    name = film_model(request, here)
    try:
        return (name, "t2v" not in offered(app_of(request).film, who.actor, name, True).kinds) if name else None
    except HeadwaterError:
        return None
