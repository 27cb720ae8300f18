"""The users of the hub, for its administrators: who there is, a new one, a new password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import HeadwaterError
from headwater.hub import Hub
from headwater.hub.access import need_admin
from headwater.hub.accounts import create_user, is_open, set_password
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, go, page

router = APIRouter()


@router.get("/settings/users")
def users(request: Request, hub: HubDep, who: VisitorDep) -> Response:
    return _list(request, hub, who)


@router.post("/settings/users", dependencies=OWN_FORM)
def change(request: Request, hub: HubDep, who: VisitorDep, do: Annotated[str, Form()], name: Annotated[str, Form()],
           password: Annotated[str, Form()] = "", fullname: Annotated[str, Form()] = "",
           admin: Annotated[str, Form()] = "") -> Response:
    need_admin(who.actor)
    try:
        if do == "create":
            create_user(hub, who.actor, name.strip(), password, fullname=fullname.strip()[:200], is_admin=bool(admin))
        else:
            set_password(hub, who.actor, name, password)
    except HeadwaterError as error:
        return _list(request, hub, who, problem=str(error), status=error.status)
    return go("/settings/users")


def _list(request: Request, hub: Hub, who: VisitorDep, *, problem: str | None = None, status: int = 200) -> Response:
    need_admin(who.actor)
    people = [a for a in hub.accounts.all() if not a.is_org]
    return page(request, "users.html", status=status, tab="users", problem=problem, open=is_open(hub),
                users=sorted(people, key=lambda a: a.name.lower()))
