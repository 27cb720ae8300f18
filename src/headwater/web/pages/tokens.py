"""Tokens of one's account and key pairs (for programs that sign their own): made here and shown once, revoked here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from headwater.core.errors import HeadwaterError
from headwater.core.types import Access
from headwater.hub import Hub
from headwater.hub.access import need_scope
from headwater.hub.accounts import SESSION_PREFIX, issue_token
from headwater.hub.key_pairs import PAIR_PREFIX, issue_pair
from headwater.web.site import OWN_FORM, HubDep, VisitorDep, go, page

router = APIRouter()
DAY_S = 86_400
LIVES = {"": None, "30": 30 * DAY_S, "90": 90 * DAY_S, "365": 365 * DAY_S}


@router.get("/settings/tokens")
def tokens(request: Request, hub: HubDep, who: VisitorDep) -> Response:
    return _list(request, hub, who)


@router.post("/settings/tokens", dependencies=OWN_FORM)
def make(request: Request, hub: HubDep, who: VisitorDep, name: Annotated[str, Form()] = "",
         scope: Annotated[str, Form()] = "write", days: Annotated[str, Form()] = "") -> Response:
    try:
        secret, _ = issue_token(hub, who.actor, name.strip(), scope=Access.READ if scope == "read" else Access.WRITE,
                                seconds=LIVES.get(days))
    except HeadwaterError as error:
        return _list(request, hub, who, problem=str(error), status=error.status)
    return _list(request, hub, who, secret=secret)


@router.post("/settings/tokens/pair", dependencies=OWN_FORM)
def make_pair(request: Request, hub: HubDep, who: VisitorDep, name: Annotated[str, Form()] = "",
              days: Annotated[str, Form()] = "") -> Response:
    try:
        access, secret, _ = issue_pair(hub, who.actor, name.strip(), LIVES.get(days))
    except HeadwaterError as error:
        return _list(request, hub, who, problem=str(error), status=error.status)
    return _list(request, hub, who, pair=(access, secret))


@router.post("/settings/tokens/revoke", dependencies=OWN_FORM)
def revoke(hub: HubDep, who: VisitorDep, name: Annotated[str, Form()]) -> Response:
    hub.accounts.revoke(need_scope(who.actor, Access.WRITE), name, by=who.actor)
    return go("/settings/tokens")


def _list(request: Request, hub: Hub, who: VisitorDep, *, secret: str | None = None,
          pair: tuple[str, str] | None = None, problem: str | None = None, status: int = 200) -> Response:
    """secret, pair (access key, secret key): made just now, to be shown this once."""
    account = need_scope(who.actor, Access.READ)
    found = sorted(hub.accounts.tokens(account), key=lambda t: -t.created_at)
    return page(request, "tokens.html", status=status, tab="tokens", secret=secret, pair=pair, problem=problem,
                tokens=[t for t in found if not t.name.startswith((SESSION_PREFIX, PAIR_PREFIX))],
                pairs=[t for t in found if t.name.startswith(PAIR_PREFIX)], pair_prefix=PAIR_PREFIX,
                sessions=[t for t in found if t.name.startswith(SESSION_PREFIX)], current=who.actor.token_id,
                headers={"Cache-Control": "no-store"})
