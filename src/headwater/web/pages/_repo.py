"""What every page of a repo begins with: the repo, the revision, what the visitor may do there, and the tabs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request
from fastapi.responses import Response

from headwater.chat.models import find as find_model
from headwater.core.errors import HeadwaterError
from headwater.core.types import Access, Commit, Entry, EntryKind, Kind, Ref, Repo
from headwater.film.models import engine_of
from headwater.hub import Hub, browse, card
from headwater.hub.access import access_to, find_repo
from headwater.web.site import HubDep, VisitorDep, app_of, page, repo_url, segment

README_MAX = 1_000_000


@dataclass(frozen=True)
class Place:
    """A repo as a visitor stands before it. url: its page. revision: as the address says it. commit: what that is."""

    repo: Repo
    url: str
    access: Access
    revision: str
    commit: Commit

    @property
    def at(self) -> str:
        """The revision as a segment of an address."""
        return quote(self.revision, safe="")

    @property
    def is_main(self) -> bool:
        return self.revision == "main"

    def may(self, need: str) -> bool:
        return self.access.covers(Access(need))


def place(request: Request, hub: HubDep, who: VisitorDep, owner: str, name: str) -> Place:
    """The repo of the address, with `revision` from the address or main. A name that moved is followed.

    Raises RepoNotFound, RevisionNotFound.
    """
    kind = Kind.DATASET if request.url.path.startswith("/datasets/") else Kind.MODEL
    asked = f"{segment(owner)}/{segment(name)}"
    repo = find_repo(hub, who.actor, kind, asked)
    if repo.full_name != asked and request.method == "GET":
        path = request.url.path.replace(f"/{owner}/{name}", f"/{repo.full_name}", 1)
        raise HTTPException(307, headers={"Location": quote(path)})
    revision = segment(request.path_params.get("revision", "main"))
    commit = browse.resolve(hub, repo, revision)
    return Place(repo, repo_url(repo), access_to(hub, who.actor, repo), revision, commit)


PlaceDep = Annotated[Place, Depends(place)]


def repo_page(request: Request, template: str, hub: Hub, here: Place, tab: str, **data: Any) -> Response:
    """A page of the repo with its head and tabs."""
    actor = request.state.visitor.actor
    liked = actor.account is not None and actor.name in hub.repos.likers(here.repo)
    return page(request, template, place=here, repo=here.repo, tab=tab, liked=liked,
                talk=talk_model(request, here), films=film_model(request, here), **data)


def readme_body(hub: Hub, here: Place) -> str:
    """The card without its front matter; '' when there is none or it is too large to be one."""
    try:
        found = browse.file(hub, here.commit, "README.md")
        text = browse.read_small(hub, found, README_MAX).decode("utf-8", "replace")
    except HeadwaterError:
        return ""
    return card.split_card(text)[1]


def talk_model(request: Request, here: Place) -> str | None:
    """The name to give the chat page, or None when no engine here takes this model."""
    if here.repo.kind is not Kind.MODEL:
        return None
    exact = f"{here.repo.full_name}@{here.commit.oid}"
    try:
        find_model(app_of(request).chat, request.state.visitor.actor, exact)
    except HeadwaterError:
        return None
    return here.repo.full_name if here.is_main else exact


def film_model(request: Request, here: Place) -> str | None:
    """The name to give the page that makes films, or None when no engine films with it. One that cannot run here is
    named too: that page says what it lacks."""
    if here.repo.kind is not Kind.MODEL or engine_of(app_of(request).film, here.commit) is None:
        return None
    return here.repo.full_name if here.is_main else f"{here.repo.full_name}@{here.commit.oid}"

def refs(hub: Hub, here: Place) -> tuple[list[Ref], list[Ref]]:
    """(branches with main first, tags)."""
    found = hub.history.refs(here.repo)
    branches = [r for r in found if r.name.startswith("refs/heads/")]
    tags = [r for r in found if r.name.startswith("refs/tags/")]
    return sorted(branches, key=lambda r: (r.short != "main", r.short)), sorted(tags, key=lambda r: r.short)


def folders(path: str) -> list[tuple[str, str]]:
    """(name, path) of each step of a path, for the trail above a listing."""
    steps = path.split("/") if path else []
    return [(step, "/".join(steps[: n + 1])) for n, step in enumerate(steps)]


def count_files(entries: list[Entry]) -> int:
    return sum(1 for e in entries if e.kind is EntryKind.FILE)
