"""Sign in and out. A session is a cookie that scripts cannot read and other sites do not send."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import NotSignedIn
from headwater.hub.accounts import SESSION_S, is_open, sign_in, sign_out
from headwater.web.site import OWN_FORM, SESSION_COOKIE, HubDep, VisitorDep, go, local_path, page, secure

router = APIRouter()


@router.get("/sign-in")
def form(request: Request, hub: HubDep, who: VisitorDep, next: str = "/", name: str = "") -> Response:
    return page(request, "sign_in.html", next=local_path(next), name=name, problem=False, open=is_open(hub))


@router.post("/sign-in", dependencies=OWN_FORM)
def enter(request: Request, hub: HubDep, name: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "",
          next: Annotated[str, Form()] = "/") -> Response:
    try:
        secret = sign_in(hub, name.strip(), password, address=request.client.host if request.client else "")
    except NotSignedIn:
        return page(request, "sign_in.html", status=401, next=local_path(next), name=name, problem=True, open=False)
    answer = go(local_path(next))
    answer.set_cookie(SESSION_COOKIE, secret, max_age=SESSION_S, httponly=True, samesite="lax", secure=secure(request))
    return answer


@router.post("/sign-out", dependencies=OWN_FORM)
def leave(hub: HubDep, who: VisitorDep) -> Response:
    sign_out(hub, who.actor)
    answer = go("/")
    answer.delete_cookie(SESSION_COOKIE)
    return answer
