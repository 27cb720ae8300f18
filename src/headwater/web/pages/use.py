"""How to use a repo: from the terminal, from Python, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from headwater.hub import browse
from headwater.hub.accounts import is_open
from headwater.web import highlight
from headwater.web.pages._repo import PlaceDep, repo_page, talk_model
from headwater.web.site import HubDep, VisitorDep, base_url
from headwater.web.snippets import snippets

router = APIRouter()


@router.get("/{owner}/{name}/use")
@router.get("/datasets/{owner}/{name}/use")
def use(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep) -> Response:
    talk = talk_model(request, here)
    needs_token = here.repo.private or not is_open(hub)
    found = snippets(here.repo, browse.files(hub, here.commit), base_url(request), talk, needs_token=needs_token)
    groups = [(key, [(s, Markup(highlight.colour(s.text, s.language))) for s in found if s.key == key])
              for key in dict.fromkeys(s.key for s in found)]
    return repo_page(request, "use.html", hub, here, "use", groups=groups, needs_token=needs_token)
