"""A conversation to read: one that somebody shared, or one's own made for paper. Knows what is shown; sends nothing."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from markupsafe import Markup

from headwater.core.errors import Forbidden, NotSignedIn
from headwater.core.ports import Files
from headwater.core.types import Access, Account, Actor, Conversation, Message
from headwater.talks import conversations as verbs
from headwater.talks import export
from headwater.talks.files import file_id_of
from headwater.web.markdown import render_said
from headwater.web.site import OWN_FORM, VisitorDep, app_of, go, page, segment

router = APIRouter()


@router.get("/chat/shared/{key}")
def shared(request: Request, who: VisitorDep, key: str) -> Response:
    """For whoever may sign in here: on an open hub that is everybody on the machine."""
    _member(who.actor)
    found, owner, shown = verbs.find_shared(app_of(request).talks, segment(key))
    return _page(request, who, found, shown, f"/api/headwater/shared/{found.share_key}/files/{{}}", owner=owner)


@router.post("/chat/shared/{key}/copy", dependencies=OWN_FORM)
def copy(request: Request, who: VisitorDep, key: str, upto: Annotated[str, Form(max_length=32)] = "") -> Response:
    """One's own copy of it, up to a message, to go on with."""
    account = _person(who.actor, Access.WRITE)
    return go(f"/chat?c={verbs.take_over(app_of(request).talks, account, segment(key), upto or None).id}")


@router.get("/chat/print/{conversation}")
def printed(request: Request, who: VisitorDep, conversation: str) -> Response:
    """The shown branch of one's own conversation."""
    talks = app_of(request).talks
    found = verbs.find(talks, _person(who.actor, Access.READ), segment(conversation))
    shown = verbs.branch(talks.conversations.messages(found), found.leaf)
    return _page(request, who, found, shown, "/v1/files/{}/content", owner=None)


def _page(request: Request, who: VisitorDep, found: Conversation, shown: list[Message], pictures: str, *,
          owner: Account | None) -> Response:
    files = app_of(request).talks.files
    elsewhere = who.words.gettext("image elsewhere")
    told = [{"id": m.id, "role": m.role, "model": m.model.partition("@")[0], "revision": _revision(m),
             "receipt": export.receipt(m), "reasoning": m.reasoning,
             "parts": [_part(part, files, found.account_id, pictures, elsewhere) for part in _parts(m)]}
            for m in shown]
    return page(request, "shared.html", talk=found, shown=told, owner=owner,
                headers={"Cache-Control": "private, no-store"})


def _parts(message: Message) -> list[dict[str, Any]]:
    return [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content


def _part(part: dict[str, Any], files: Files, owner_id: int, pictures: str, elsewhere: str) -> dict[str, Any]:
    """A text as HTML, a picture of this hub by its address, or the name of something ("" when it has none)."""
    if part["type"] == "text":
        return {"html": Markup(render_said(part["text"], elsewhere))}
    name = file_id_of(part)
    file = files.get(owner_id, name) if name else None
    if file is not None and file.media_type.startswith("image/"):
        return {"picture": pictures.format(file.id), "name": file.name}
    said = part.get("file")
    told = file.name if file else said.get("filename") if isinstance(said, dict) else ""
    return {"name": told[:255] if isinstance(told, str) else ""}


def _revision(message: Message) -> str:
    said = message.made.get("revision")
    return said[:64] if isinstance(said, str) else message.model.partition("@")[2][:64]


def _member(actor: Actor) -> Account:
    if actor.account is None:
        raise NotSignedIn("Sign in to read what was shared with the people of this hub.")
    return actor.account


def _person(actor: Actor, need: Access) -> Account:
    account = _member(actor)
    if not actor.scope.covers(need) or actor.repos is not None:
        raise Forbidden("This token does not open conversations.")
    return account
