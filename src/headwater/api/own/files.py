"""What can be read in a file that was handed over by POST /v1/files, and the pictures of shared conversations."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from headwater.api.deps import ActorDep
from headwater.api.own.conversations import ReaderDep, TalksDep
from headwater.core.errors import NotFound
from headwater.core.types import Access
from headwater.hub.access import need_scope
from headwater.talks.conversations import find_shared
from headwater.talks.files import file_id_of, find, read

router = APIRouter(prefix="/api/headwater", tags=["headwater: conversations"])


class FileText(BaseModel):
    """text: what a model would be shown; null when nothing can be read in it, as in a picture."""

    id: str
    name: str
    media_type: str
    size: int
    text: str | None


@router.get("/files/{file_id}/text")
def file_text(file_id: str, talks: TalksDep, me: ReaderDep) -> FileText:
    """The text of a text file or of a PDF, as models are shown it."""
    file = find(talks, me, file_id)
    return FileText(id=file.id, name=file.name, media_type=file.media_type, size=file.size, text=file.text)


@router.get("/shared/{key}/files/{file_id}", response_class=StreamingResponse)
def shared_picture(key: str, file_id: str, talks: TalksDep, actor: ActorDep) -> StreamingResponse:
    """A picture in a shared conversation, for whoever may read that."""
    need_scope(actor, Access.READ)
    _, owner, shown = find_shared(talks, key)
    named = {file_id_of(part) for message in shown if isinstance(message.content, list) for part in message.content}
    file = find(talks, owner, file_id) if file_id in named else None
    if file is None or not file.media_type.startswith("image/"):
        raise NotFound("No such picture in the conversation.")
    return StreamingResponse(read(talks, file), media_type=file.media_type, headers={
        "Content-Length": str(file.size), "Cache-Control": "private, max-age=600",
        "Content-Security-Policy": "default-src 'none'; sandbox"})
