"""The page of a repo: its card, where it comes from, what it is made of, what to heed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from headwater.core.types import Entry, Finding, Kind
from headwater.hub import Hub, browse
from headwater.hub.facts import facts
from headwater.hub.scan import by_path
from headwater.trace.closed import beside
from headwater.trace.lineage import lineage_of
from headwater.web import cards, markdown
from headwater.web.pages._descent import Shown, shown
from headwater.web.pages._repo import Place, PlaceDep, readme_body, repo_page
from headwater.web.site import HubDep, app_of, visitor

router = APIRouter()
WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".msgpack", ".h5")


@dataclass(frozen=True)
class Security:
    """findings: those worth a look, the worst first. scanned, total: how many files were looked at, of how many."""

    findings: list[Finding]
    scanned: int
    total: int


@router.get("/{owner}/{name}")
@router.get("/datasets/{owner}/{name}")
def card(request: Request, hub: HubDep, here: PlaceDep) -> Response:
    entries = browse.files(hub, here.commit)
    body = readme_body(hub, here)
    translate = visitor(request).words.gettext
    text = cards.without_title(body, here.repo.name)
    html = markdown.render(text, here.url, here.commit.oid, translate("image elsewhere")) if text.strip() else ""
    return repo_page(request, "card.html", hub, here, "card", line=line_of(here, body), html=Markup(html),
                     entries=entries,
                     weights=[e for e in entries if e.path.endswith(WEIGHTS)][:8],
                     spoken=cards.language(here.repo.card),
                     security=security(hub, entries),
                     facts=facts(hub, here.repo, here.commit) if here.repo.kind is Kind.MODEL else None,
                     problem=here.repo.card.problem, descent=descent_of(request, here))


def line_of(here: Place, body: str) -> str:
    """What the repo is in one line; '' when nobody says, or the card says it right below."""
    return cards.line(here.repo) or ("" if cards.begins_with_words(body) else cards.opening(body))


def descent_of(request: Request, here: Place) -> Shown | None:
    """What is known of the model's descent, as this visitor may know it; None for a dataset."""
    if here.repo.kind is not Kind.MODEL:
        return None
    app, actor = app_of(request), visitor(request).actor
    return shown(lineage_of(app.trace, actor, here.repo, here.commit.oid), beside(app.closed, actor, here.repo),
                 here.repo.updated_at)


def security(hub: Hub, entries: Sequence[Entry]) -> Security:
    known = by_path(hub, list(entries))
    order = ("dangerous", "suspicious", "notice")
    loud = sorted((f for f in known.values() if f.level in order), key=lambda f: (order.index(f.level), f.path))
    return Security(loud, len(known), len(entries))
