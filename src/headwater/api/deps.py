"""What every route is handed: the hub, the app, and who is asking."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

from fastapi import Depends, Request

from headwater.core.errors import NotSignedIn
from headwater.core.types import ANYONE, Actor
from headwater.hub import Hub
from headwater.hub.accounts import actor_of_secret, is_open, owner_actor
from headwater.hub.names import is_loopback

if TYPE_CHECKING:
    from headwater.app import App

SESSION_COOKIE = "headwater_session"
BAD_CREDENTIALS = "Invalid credentials in Authorization header"  # the sentence the Hugging Face clients know


def get_app(request: Request) -> App:
    return request.app.state.headwater


async def get_hub(request: Request) -> Hub:
    # async only to spare the hop to a thread that FastAPI makes for a plain function
    return hub_of(request)


def hub_of(request: Request) -> Hub:
    return request.app.state.headwater.hub


def get_actor(request: Request) -> Actor:
    """Bearer (or basic) token, else session cookie, else the owner of an open hub on loopback, else a stranger.

    Raises NotSignedIn for a token that is wrong, expired or revoked: it is never taken for a stranger's silence.
    """
    hub = hub_of(request)
    # x-api-key: where Anthropic's clients put it
    secret = _secret(request.headers.get("authorization", "")) or request.headers.get("x-api-key")
    if secret and (actor := actor_of_secret(hub, secret)):
        return actor
    if is_local(request) and is_open(hub):
        # Whatever token a client has lying around: on an open hub nobody is anybody else.
        return owner_actor(hub)
    if secret:
        raise NotSignedIn(BAD_CREDENTIALS, hint="The token is unknown here, expired or revoked; make one with "
                                                "`headwater token create`.")
    if (cookie := request.cookies.get(SESSION_COOKIE)) and (actor := actor_of_secret(hub, cookie)):
        return actor
    return ANYONE


HubDep = Annotated[Hub, Depends(get_hub)]
ActorDep = Annotated[Actor, Depends(get_actor)]


def segment(text: str) -> str:
    """A path parameter as the client meant it: http.KeepSegments left '/' and '%' inside a segment quoted."""
    return unquote(text)


def base_url(request: Request) -> str:
    """How the client reaches this hub, without a trailing slash."""
    return (hub_of(request).settings.public_url or str(request.base_url)).rstrip("/")


def _secret(header: str) -> str | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":  # git-lfs and curl -u name:token
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return "unreadable"
    return None


def is_local(request: Request) -> bool:
    """Whether the request comes from this machine and says so: not through a proxy, nor from a page of another
    site whose name was made to point here (DNS rebinding), nor posted by one."""
    if not is_loopback(hub_of(request).settings.host) or "x-forwarded-for" in request.headers:
        return False
    if request.client is None or not is_loopback(request.client.host):
        return False
    if not is_loopback(_hostname(request.headers.get("host", ""))):
        return False
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


def _hostname(host: str) -> str:
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
