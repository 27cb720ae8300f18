"""Inside a model: architecture, tensors and chat template, read from headers and small files."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from headwater.hub.facts import facts
from headwater.web import highlight
from headwater.web.pages._repo import PlaceDep, repo_page
from headwater.web.site import HubDep

router = APIRouter()
TENSORS_MAX = 1500


@router.get("/{owner}/{name}/weights")
@router.get("/{owner}/{name}/weights/{revision}")
def weights(request: Request, hub: HubDep, here: PlaceDep, file: str = "", find: str = "") -> Response:
    found = facts(hub, here.repo, here.commit)
    path = file if file in found.headers else next(iter(found.headers), "")
    header = found.headers.get(path)
    tensors = [t for t in header.tensors if find.lower() in t.name.lower()] if header else []
    template = found.description.chat_template
    coloured = Markup(highlight.colour(template.text, "jinja")) if template else None
    partial = request.headers.get("hx-target") == "tensors"
    return repo_page(request, "parts/tensors.html" if partial else "weights.html", hub, here, "weights", facts=found,
                     header=header, path=path, tensors=tensors[:TENSORS_MAX], find=find,
                     more=max(0, len(tensors) - TENSORS_MAX), coloured=coloured)
