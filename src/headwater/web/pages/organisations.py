"""Organisations: those one belongs to, a new one, and the members of one that one manages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import BadInput, HeadwaterError, NotFound
from headwater.core.types import Access
from headwater.hub import Hub
from headwater.hub.access import need_scope, role_in
from headwater.hub.accounts import create_org, set_role
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, go, page, segment

router = APIRouter()
ROLES = ("read", "write", "admin")


@router.get("/settings/organisations")
def organisations(request: Request, hub: HubDep, who: VisitorDep) -> Response:
    return _list(request, hub, who)


@router.post("/settings/organisations", dependencies=OWN_FORM)
def make(request: Request, hub: HubDep, who: VisitorDep, name: Annotated[str, Form()] = "",
         fullname: Annotated[str, Form()] = "") -> Response:
    try:
        org = create_org(hub, who.actor, name.strip(), fullname=fullname.strip()[:200])
    except HeadwaterError as error:
        return _list(request, hub, who, problem=str(error), status=error.status)
    return go(f"/settings/organisations/{org.name}")


@router.get("/settings/organisations/{org}")
def members(request: Request, hub: HubDep, who: VisitorDep, org: str) -> Response:
    return _members(request, hub, who, segment(org))


@router.post("/settings/organisations/{org}", dependencies=OWN_FORM)
def change(request: Request, hub: HubDep, who: VisitorDep, org: str, user: Annotated[str, Form()],
           role: Annotated[str, Form()]) -> Response:
    name = segment(org)
    try:
        if role not in (*ROLES, "none"):
            raise BadInput(f"There is no role {role!r}.", hint=f"There are: {', '.join(ROLES)}.")
        set_role(hub, who.actor, name, user.strip(), Access(role))
    except HeadwaterError as error:
        return _members(request, hub, who, name, problem=str(error), status=error.status)
    return go(f"/settings/organisations/{name}" if _manages(hub, who, name) else "/settings/organisations")


def _list(request: Request, hub: Hub, who: VisitorDep, *, problem: str | None = None, status: int = 200) -> Response:
    account = need_scope(who.actor, Access.READ)
    return page(request, "organisations.html", status=status, tab="organisations", problem=problem,
                memberships=hub.accounts.memberships(account))


def _members(request: Request, hub: Hub, who: VisitorDep, name: str, *, problem: str | None = None,
             status: int = 200) -> Response:
    need_scope(who.actor, Access.READ)
    org = hub.accounts.find(name)
    if org is None or not org.is_org or not _manages(hub, who, org.name):
        raise NotFound(f"No organisation {name!r} that you administer.")
    return page(request, "members.html", status=status, tab="organisations", problem=problem, org=org,
                members=sorted(hub.accounts.members(org), key=lambda m: m.user.name.lower()), roles=ROLES)


def _manages(hub: Hub, who: VisitorDep, name: str) -> bool:
    return role_in(hub, who.actor, name).covers(Access.ADMIN)
