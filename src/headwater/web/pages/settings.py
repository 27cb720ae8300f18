"""One's own account: who one is, the password, and how pages look (language and light)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.types import Access
from headwater.hub import Hub
from headwater.hub.access import need_scope
from headwater.hub.accounts import is_open, set_password
from headwater.web.site import (
    LANGUAGE_COOKIE,
    OWN_FORM,
    THEME_COOKIE,
    THEMES,
    YEAR_S,
    HubDep,
    VisitorDep,
    go,
    local_path,
    page,
    secure,
)
from headwater.web.words import languages

router = APIRouter()


@router.get("/settings")
def settings(request: Request, hub: HubDep, who: VisitorDep) -> Response:
    return _profile(request, hub, who)


@router.post("/settings", dependencies=OWN_FORM)
def change(request: Request, hub: HubDep, who: VisitorDep, do: Annotated[str, Form()],
           fullname: Annotated[str, Form()] = "", email: Annotated[str, Form()] = "",
           password: Annotated[str, Form()] = "", again: Annotated[str, Form()] = "") -> Response:
    account = need_scope(who.actor, Access.WRITE)
    try:
        if do == "profile":
            hub.accounts.update(account, fullname=fullname.strip()[:200], email=email.strip()[:200] or None,
                                by=who.actor)
        elif do == "password":
            if password != again:
                raise BadInput("The two passwords are not the same.")
            set_password(hub, who.actor, account.name, password)
            # With its first password an open hub closes; its owner goes on through the sign-in page.
            return go("/settings" if who.actor.token_id else f"/sign-in?name={account.name}")
    except HeadwaterError as error:
        return _profile(request, hub, who, problem=str(error), status=error.status)
    return go("/settings")


@router.post("/settings/appearance", dependencies=OWN_FORM)
def appearance(request: Request, theme: Annotated[str, Form()] = "", language: Annotated[str, Form()] = "",
               next: Annotated[str, Form()] = "/") -> Response:
    answer = go(local_path(next))
    if theme in THEMES:
        answer.set_cookie(THEME_COOKIE, theme, max_age=YEAR_S, samesite="lax", secure=secure(request))
    if language in languages():
        answer.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR_S, samesite="lax", secure=secure(request))
    return answer


def _profile(request: Request, hub: Hub, who: VisitorDep, *, problem: str | None = None,
             status: int = 200) -> Response:
    account = need_scope(who.actor, Access.READ)
    account = hub.accounts.get(account.id) or account
    return page(request, "settings.html", status=status, tab="profile", problem=problem, account=account,
                open=is_open(hub), session=who.actor.token_id is not None)
