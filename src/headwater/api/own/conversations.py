"""Conversations and their messages, under /api/headwater/conversations. Thin over talks/conversations.py.

All belong to who asks; another's are 404.
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, RootModel

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.request import body_schema, read_body
from headwater.api.person import need_person
from headwater.core.errors import BadInput
from headwater.core.types import Access, Account, Conversation, Message
from headwater.talks import Talks, export
from headwater.talks import conversations as verbs

router = APIRouter(prefix="/api/headwater/conversations", tags=["headwater: conversations"])
SHARED = "/chat/shared/"


class Changes(BaseModel):
    """What may be given at the start, or changed; what is left out stays. leaf: the message the shown branch ends
    with. settings: the page's own (temperature, max_tokens and so on), at most 64 kB."""

    model_config = ConfigDict(strict=True, title="ConversationChanges")
    title: str | None = None
    folder: str | None = None
    system: str | None = None
    model: str | None = None
    settings: dict[str, Any] | None = None
    leaf: str | None = None


class NewMessage(BaseModel):
    """id: 32 hexadecimal digits the client made up; sending it again adds nothing. parent: the message it answers, null
    for a first one. made: the receipt of an answer (repo, revision, engine, build, seed, usage, seconds)."""

    model_config = ConfigDict(strict=True, title="NewMessage")
    id: str | None = None
    parent: str | None = None
    role: Literal["user", "assistant", "system", "tool"]
    content: str | list[dict[str, Any]]
    reasoning: str | None = None
    model: str | None = None
    made: dict[str, Any] | None = None


class Exported(RootModel[dict[str, Any]]):
    """What export?form=json gave."""


async def changes_body(request: Request) -> Changes:
    return await read_body(request, Changes)


async def message_body(request: Request) -> NewMessage:
    return await read_body(request, NewMessage)


async def exported_body(request: Request) -> Exported:
    return await read_body(request, Exported)


def _takes(kind: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema(kind)}}}}


def get_talks(request: Request) -> Talks:
    return get_app(request).talks


def reader(actor: ActorDep) -> Account:
    return need_person(actor)


def writer(actor: ActorDep) -> Account:
    return need_person(actor, Access.WRITE)


TalksDep = Annotated[Talks, Depends(get_talks)]
ReaderDep = Annotated[Account, Depends(reader)]
WriterDep = Annotated[Account, Depends(writer)]


# --- lists


@router.get("")
def list_conversations(
    talks: TalksDep, me: ReaderDep, q: Annotated[str, Query(max_length=200)] = "",
    folder: Annotated[str | None, Query(max_length=200)] = None,
    before: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> dict[str, Any]:
    """Newest first. q: words that all stand in the title or the messages, whatever their case. folder: "" for those in
    none. before: `next` of the page before."""
    if "\0" in q + (folder or ""):
        raise BadInput("q and folder hold no NUL character.")
    found, following = talks.conversations.page(me, words=q.split()[:verbs.WORDS_MAX], folder=folder, before=before,
                                                limit=limit)
    return {"items": [{**_line(one.conversation), "snippet": one.snippet} for one in found], "next": following}


@router.get("/folders")
def list_folders(talks: TalksDep, me: ReaderDep) -> dict[str, Any]:
    return {"items": [{"name": name, "count": count} for name, count in talks.conversations.folders(me)]}


# --- one


@router.post("", status_code=201, openapi_extra=_takes(Changes))
def create_conversation(talks: TalksDep, me: WriterDep,
                        body: Annotated[Changes, Depends(changes_body)]) -> dict[str, Any]:
    """Begin one, without messages."""
    fields = _given(body)
    if fields.pop("leaf", None) is not None:
        raise BadInput("leaf: a new conversation has no messages.")
    return _whole(talks, verbs.begin(talks, me, fields))


@router.post("/import", status_code=201, openapi_extra=_takes(Exported))
def import_conversation(talks: TalksDep, me: WriterDep,
                        body: Annotated[Exported, Depends(exported_body)]) -> dict[str, Any]:
    """A new conversation out of an export in JSON, with every branch."""
    fields, messages, leaf = export.read_json(body.root)
    return _whole(talks, verbs.begin(talks, me, fields, messages, leaf=leaf))


@router.get("/{conversation_id}")
def get_conversation(conversation_id: str, talks: TalksDep, me: ReaderDep) -> dict[str, Any]:
    """With all messages, in the order they came."""
    return _whole(talks, verbs.find(talks, me, conversation_id))


@router.patch("/{conversation_id}", openapi_extra=_takes(Changes))
def change_conversation(conversation_id: str, talks: TalksDep, me: WriterDep,
                        body: Annotated[Changes, Depends(changes_body)]) -> dict[str, Any]:
    """Without the messages."""
    return _shown(verbs.change(talks, me, conversation_id, _given(body)))


@router.delete("/{conversation_id}")
def delete_conversation(conversation_id: str, talks: TalksDep, me: WriterDep) -> dict[str, bool]:
    verbs.find(talks, me, conversation_id)
    return {"deleted": talks.conversations.delete(me, conversation_id)}


# --- messages


@router.post("/{conversation_id}/messages", status_code=201, openapi_extra=_takes(NewMessage))
def add_message(conversation_id: str, talks: TalksDep, me: WriterDep,
                body: Annotated[NewMessage, Depends(message_body)]) -> dict[str, Any]:
    """Add a message; it becomes the leaf. At most 1 MB, and 2,000 of them in a conversation."""
    message = Message(body.id or secrets.token_hex(16), body.parent, body.role, body.content, body.reasoning or "",
                      body.model or "", body.made or {}, talks.now())
    return export.told(verbs.say(talks, me, conversation_id, message))


@router.delete("/{conversation_id}/messages/{message_id}")
def delete_message(conversation_id: str, message_id: str, talks: TalksDep, me: WriterDep) -> dict[str, Any]:
    """With all that answers it. The leaf, if it was among them, moves to the message before."""
    verbs.prune(talks, me, conversation_id, message_id)
    return {"deleted": True, "leaf": verbs.find(talks, me, conversation_id).leaf}


# --- given to others


@router.post("/{conversation_id}/share")
def share_conversation(conversation_id: str, talks: TalksDep, me: WriterDep, actor: ActorDep) -> dict[str, str]:
    """The address of a page that shows its current branch to whoever may sign in here and knows the address."""
    return {"url": SHARED + verbs.share(talks, actor, me, conversation_id)}


@router.delete("/{conversation_id}/share")
def unshare_conversation(conversation_id: str, talks: TalksDep, me: WriterDep, actor: ActorDep) -> dict[str, bool]:
    """The address leads nowhere any more; sharing again makes another."""
    verbs.unshare(talks, actor, me, conversation_id)
    return {"shared": False}


@router.get("/{conversation_id}/export")
def export_conversation(conversation_id: str, talks: TalksDep, me: ReaderDep,
                        form: Literal["md", "json", "html"] = "json") -> Response:
    """json: every branch, can be imported. md: the shown branch. html: the same as a page made for paper."""
    found = verbs.find(talks, me, conversation_id)
    if form == "html":
        return RedirectResponse(f"/chat/print/{found.id}", 303)
    messages = talks.conversations.messages(found)
    if form == "json":
        text = json.dumps(export.as_json(found, messages), ensure_ascii=False, indent=1)
        kind = "application/json"
    else:
        text, kind = export.as_markdown(found, verbs.branch(messages, found.leaf)), "text/markdown; charset=utf-8"
    name = quote(export.file_name(found, form))
    return Response(text, media_type=kind, headers={
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Cache-Control": "private, no-store"})


def _given(body: Changes) -> dict[str, Any]:
    """What was sent; null means the same as left out, but for the leaf."""
    sent = body.model_dump(exclude_unset=True)
    return {name: value for name, value in sent.items() if value is not None or name == "leaf"}


def _line(one: Conversation) -> dict[str, Any]:
    return {"id": one.id, "title": one.title, "folder": one.folder, "model": one.model, "updated": one.updated_at}


def _shown(one: Conversation) -> dict[str, Any]:
    return {**_line(one), "system": one.system, "settings": one.settings, "leaf": one.leaf,
            "shared": SHARED + one.share_key if one.share_key else None, "created": one.created_at}


def _whole(talks: Talks, one: Conversation) -> dict[str, Any]:
    return {**_shown(one), "messages": [export.told(message) for message in talks.conversations.messages(one)]}
