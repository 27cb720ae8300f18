"""Make a repo, and go on to putting files into it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import HeadwaterError
from headwater.core.types import Access, Actor, Kind
from headwater.hub import Hub, repos
from headwater.hub.access import need_scope
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, go, page, repo_url

router = APIRouter()


@router.get("/new")
def new(request: Request, hub: HubDep, who: VisitorDep, kind: str = "model", owner: str = "") -> Response:
    need_scope(who.actor, Access.WRITE)
    return _form(request, hub, who.actor, kind=kind, owner=owner)


@router.post("/new", dependencies=OWN_FORM)
def create(request: Request, hub: HubDep, who: VisitorDep, name: Annotated[str, Form()] = "",
           owner: Annotated[str, Form()] = "", kind: Annotated[str, Form()] = "model",
           private: Annotated[str, Form()] = "") -> Response:
    try:
        made = repos.create(hub, who.actor, Kind.DATASET if kind == "dataset" else Kind.MODEL, owner.strip(),
                            name.strip(), private=bool(private))
    except HeadwaterError as error:
        return _form(request, hub, who.actor, kind=kind, owner=owner, name=name, private=bool(private),
                     problem=str(error), status=error.status)
    return go(f"{repo_url(made)}/upload/main")


def _form(request: Request, hub: Hub, actor: Actor, *, kind: str, owner: str, name: str = "", private: bool = False,
          problem: str | None = None, status: int = 200) -> Response:
    account = need_scope(actor, Access.WRITE)
    orgs = [m.org.name for m in hub.accounts.memberships(account) if m.role.covers(Access.WRITE)]
    return page(request, "new.html", status=status, kind=kind, owner=owner or account.name, name=name,
                owners=[account.name, *orgs], private=private, problem=problem)
