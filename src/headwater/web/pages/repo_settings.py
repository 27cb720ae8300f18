"""What the owner of a repo may change: its name, who sees it, and whether it goes on existing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.types import Access, Actor, Kind, Repo
from headwater.hub import Hub, repos
from headwater.hub.access import find_repo
from headwater.web.pages._repo import PlaceDep, place, repo_page
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, go, repo_url

router = APIRouter()


@router.get("/{owner}/{name}/settings")
@router.get("/datasets/{owner}/{name}/settings")
def settings(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep) -> Response:
    _mine(hub, who.actor, here.repo)
    return repo_page(request, "repo_settings.html", hub, here, "settings", problem=None)


@router.post("/{owner}/{name}/settings", dependencies=OWN_FORM)
@router.post("/datasets/{owner}/{name}/settings", dependencies=OWN_FORM)
def change(request: Request, hub: HubDep, who: VisitorDep, owner: str, name: str, do: Annotated[str, Form()],
           new_owner: Annotated[str, Form()] = "", new_name: Annotated[str, Form()] = "",
           typed: Annotated[str, Form()] = "") -> Response:
    here = place(request, hub, who, owner, name)
    repo = _mine(hub, who.actor, here.repo)
    try:
        return go(_do(hub, who.actor, repo, do, new_owner.strip(), new_name.strip(), typed.strip()))
    except HeadwaterError as error:
        return repo_page(request, "repo_settings.html", hub, here, "settings", problem=str(error))


def _do(hub: Hub, actor: Actor, repo: Repo, do: str, owner: str, name: str, typed: str) -> str:
    """Do what the form asks; answers where to go next."""
    if do == "move":
        return f"{repo_url(repos.move(hub, actor, repo, owner, name))}/settings"
    if do in ("private", "public"):
        hub.repos.set_private(repo, do == "private", by=actor)
        return f"{repo_url(repo)}/settings"
    if do == "delete":
        if typed != repo.full_name:
            raise BadInput("The name was not typed as it is, so nothing was deleted.", hint=f"Type {repo.full_name}.")
        hub.repos.delete(repo, by=actor)
        return "/datasets" if repo.kind is Kind.DATASET else "/models"
    raise BadInput(f"There is nothing called {do!r} to do here.")


def _mine(hub: Hub, actor: Actor, repo: Repo) -> Repo:
    return find_repo(hub, actor, repo.kind, repo.full_name, Access.ADMIN)
