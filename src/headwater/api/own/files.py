"""What can be read in a file that was handed over by POST /v1/files."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from headwater.api.own.conversations import ReaderDep, TalksDep
from headwater.talks.files import find

router = APIRouter(prefix="/api/headwater/files", tags=["headwater: conversations"])


class FileText(BaseModel):
    """text: what a model would be shown; null when nothing can be read in it, as in a picture."""

    id: str
    name: str
    media_type: str
    size: int
    text: str | None


@router.get("/{file_id}/text")
def file_text(file_id: str, talks: TalksDep, me: ReaderDep) -> FileText:
    """The text of a text file or of a PDF, as models are shown it."""
    file = find(talks, me, file_id)
    return FileText(id=file.id, name=file.name, media_type=file.media_type, size=file.size, text=file.text)
