"""Inside a model: architecture, tensors and chat template, read from headers and small files."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from headwater.web import highlight
from headwater.web.inside import inside
from headwater.web.pages._repo import PlaceDep, repo_page
from headwater.web.site import HubDep

router = APIRouter()
TENSORS_MAX = 1500


@router.get("/{owner}/{name}/weights")
@router.get("/{owner}/{name}/weights/{revision}")
def weights(request: Request, hub: HubDep, here: PlaceDep, file: str = "", find: str = "") -> Response:
    found = inside(hub, here.repo, here.commit)
    shards = found.shards if found else []
    shard = next((s for s in shards if s.path == file), shards[0] if shards else None)
    tensors = [t for t in shard.header.tensors if find.lower() in t.name.lower()] if shard else []
    template = found.template if found else None
    coloured = Markup(highlight.colour(template.text, "jinja")) if template else None
    partial = request.headers.get("hx-target") == "tensors"
    return repo_page(request, "parts/shard.html" if partial else "weights.html", hub, here, "weights", inside=found,
                     shards=shards, shard=shard, tensors=tensors[:TENSORS_MAX], find=find,
                     more=max(0, len(tensors) - TENSORS_MAX), coloured=coloured)
