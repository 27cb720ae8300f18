"""/v1/files: hand over a file, list, get and delete it, in OpenAI's form. Thin over talks/files.py."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.form import chunks, read_form
from headwater.api.openai.tools import Malformed
from headwater.api.person import need_person
from headwater.chat.types import UnsupportedParameter
from headwater.core.errors import NotFound
from headwater.core.types import Access, KeptFile
from headwater.talks.files import PURPOSES, find, read, upload

router = APIRouter(prefix="/v1/files", tags=["OpenAI"])
_FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["file", "purpose"], "properties": {
        "file": {"type": "string", "format": "binary"}, "purpose": {"type": "string", "enum": list(PURPOSES)}}}}}}}


@router.post("", openapi_extra=_FORM)
async def create_file(request: Request, actor: ActorDep) -> dict[str, Any]:
    """Keep a file to show to models: text, PDF or a picture. purpose: user_data, assistants, or vision for pictures.

    400 for a PDF that cannot be read: encrypted, damaged, without text, or too much work."""
    account, talks = need_person(actor, Access.WRITE), get_app(request).talks
    limit = talks.settings.chat_file_max_bytes
    form = await read_form(request, limit, "The setting chat_file_max_bytes says how many are accepted.")
    try:
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise Malformed("file: a file, in a multipart form.", "file")
        if not isinstance(purpose, str):
            raise Malformed("purpose: is missing.", "purpose")
        for name in form:
            if name not in ("file", "purpose"):
                raise UnsupportedParameter(f"{name[:100]} is not supported.", param=name[:100],
                                           hint="Files are kept until they are deleted.")
        staged = await asyncio.to_thread(talks.stage, chunks(file), limit=limit)
        return _shown(await asyncio.to_thread(upload, talks, account, staged, file.filename or "file", purpose))
    finally:
        await form.close()


@router.get("")
def list_files(
    request: Request, actor: ActorDep, purpose: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000, order: Literal["asc", "desc"] = "desc",
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """Your files. after: the id of the last one of the page before."""
    account = need_person(actor)
    if after is not None and not after.isprintable():
        raise NotFound("No file of that id to go on after.")
    if purpose is not None and purpose not in PURPOSES:
        return {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    found, more = get_app(request).talks.files.page(account, purpose=purpose, after=after, limit=limit,
                                                    newest_first=order == "desc")
    return {"object": "list", "data": [_shown(file) for file in found], "has_more": more,
            "first_id": found[0].id if found else None, "last_id": found[-1].id if found else None}


@router.get("/{file_id}")
def get_file(file_id: str, request: Request, actor: ActorDep) -> dict[str, Any]:
    return _shown(find(get_app(request).talks, need_person(actor), file_id))


@router.get("/{file_id}/content")
def file_content(file_id: str, request: Request, actor: ActorDep) -> StreamingResponse:
    """The bytes as they came."""
    talks = get_app(request).talks
    file = find(talks, need_person(actor), file_id)
    # A page of this hub may show a picture; nothing else a stranger made is opened in its name.
    inline = file.media_type.startswith("image/")
    return StreamingResponse(read(talks, file), media_type=file.media_type if inline else "application/octet-stream",
                             headers={"Content-Length": str(file.size), "Cache-Control": "private, max-age=3600",
                                      "Content-Security-Policy": "default-src 'none'; sandbox",
                                      "Content-Disposition": f"{'inline' if inline else 'attachment'}; "
                                                             f"filename*=UTF-8''{quote(file.name)}"})


@router.delete("/{file_id}")
def delete_file(file_id: str, request: Request, actor: ActorDep) -> dict[str, Any]:
    """Forget a file. Its bytes go with a later sweep."""
    account, talks = need_person(actor, Access.WRITE), get_app(request).talks
    file = find(talks, account, file_id)
    return {"id": file.id, "object": "file", "deleted": talks.files.delete(account, file.id)}


def _shown(file: KeptFile) -> dict[str, Any]:
    return {"id": file.id, "object": "file", "bytes": file.size, "created_at": int(file.created_at),
            "expires_at": None, "filename": file.name, "purpose": file.purpose, "status": "processed",
            "status_details": None, "headwater": {"media_type": file.media_type, "sha256": file.digest}}
