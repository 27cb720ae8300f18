"""A multipart form with one file, read within a bound: the file is on disk by the time it is given."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import Message, Receive

from headwater.api.openai.tools import Malformed
from headwater.core.errors import TooLarge

FORM_MAX = 1_000_000
"""Bytes a form may have beside the file."""
FIELDS_MAX = 60
CHUNK = 1024 * 1024


async def read_form(request: Request, file_max: int, hint: str) -> FormData:
    """The form; close it. Raises TooLarge (with the hint) for a file of more than `file_max` bytes, Malformed."""
    try:
        bounded = _bounded(request.receive, file_max, hint)
        return await Request(request.scope, bounded).form(max_files=1, max_fields=FIELDS_MAX)
    except (MultiPartException, HTTPException) as error:
        raise Malformed(f"body: is no multipart form ({getattr(error, 'message', None) or error.detail}).",
                        None) from None


def chunks(file: UploadFile) -> Iterator[bytes]:
    while chunk := file.file.read(CHUNK):
        yield chunk


def _bounded(receive: Receive, file_max: int, hint: str) -> Receive:
    came = 0

    async def within() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > file_max + FORM_MAX:
            raise TooLarge(f"The file has more than {file_max:,} bytes.", hint=hint)
        return message

    return within
