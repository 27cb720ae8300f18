"""Hand over a file, get it back, show it to a model. Knows purposes and limits; knows no HTTP."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, HeadwaterError, NotFound, TooLarge
from headwater.core.types import Account, KeptFile, Staged
from headwater.talks import Talks

PURPOSES = ("user_data", "vision", "assistants")
FILES_MAX = 10_000
ATTACHED_MAX, ATTACHED_BYTES = 100, 64_000_000
"""Files one request may show to a model, and characters of them and of their pictures together."""


def upload(talks: Talks, account: Account, staged: Staged, name: str, purpose: str) -> KeptFile:
    """Keep what was received, and consume it. Raises BadInput (a purpose, a PDF, a picture that is none), TooLarge."""
    path = Path(staged.path)
    try:
        name = _name(name)
        if purpose not in PURPOSES:
            raise BadInput(f"No file is kept for the purpose {purpose[:100]!r}.",
                           hint=f"There are: {', '.join(PURPOSES)}.")
        if staged.size == 0:
            raise BadInput(f"{name} is empty.")
        found = talks.reader.read(path, staged.digest, name)
        if purpose == "vision" and not found.media_type.startswith("image/"):
            raise BadInput(f"{name} is no picture.", hint="Pictures are PNG, JPEG, GIF or WebP.")
        file = KeptFile(f"file-{secrets.token_hex(16)}", account.id, name, purpose, found.media_type, staged.digest,
                        staged.size, found.text, talks.now())
        talks.files.claim(file, most=FILES_MAX, most_bytes=talks.settings.user_files_max_bytes)
        try:
            talks.blobs.adopt(path, staged.digest)
            talks.files.arrived(file)
        except BaseException:
            talks.files.delete(account, file.id)
            raise
        return file
    finally:
        path.unlink(missing_ok=True)


def find(talks: Talks, account: Account, file_id: str) -> KeptFile:
    """Raises NotFound, also for what belongs to another."""
    file = talks.files.get(account.id, file_id) if _fits(file_id) else None
    if file is None:
        raise NotFound(f"No file {file_id[:100]!r} here.", hint="GET /v1/files lists yours.")
    return file


def read(talks: Talks, file: KeptFile) -> Iterator[bytes]:
    """Raises NotFound at once if the bytes are lost."""
    try:
        return talks.blobs.read(file.digest)
    except FileNotFoundError:
        raise NotFound(f"The bytes of {file.name} are lost.", hint="Send the file again.") from None


class Attached:
    """The files one request shows to a model, turned into parts of its messages."""

    def __init__(self, talks: Talks, account: Account):
        self._talks, self._account = talks, account
        self._count = self._size = 0

    def by_id(self, file_id: Any) -> dict[str, Any]:
        """A text or image_url part of chat. Raises BadInput for what holds nothing a model can read, NotFound."""
        if not isinstance(file_id, str):
            raise BadInput("A file_id is a text.")
        file = find(self._talks, self._account, file_id)
        if file.media_type.startswith("image/"):
            self._count_in(file.size * 4 // 3)
            data = base64.b64encode(b"".join(read(self._talks, file))).decode()
            return _picture(file.media_type, data)
        return self._text(file.name, file.text)

    def inline(self, name: Any, data: Any) -> dict[str, Any]:
        """The same of a file that stands in the request: base64, or a data URL."""
        name = _name(name if isinstance(name, str) and name else "file")
        if not isinstance(data, str):
            raise BadInput("file_data is a text: base64, or a data URL.")
        head, comma, body = data.partition(",")
        try:
            raw = base64.b64decode(body if comma and head.startswith("data:") else data, validate=True)
        except (binascii.Error, ValueError):
            raise BadInput(f"The file_data of {name} is not base64.") from None
        self._count_in(0)
        staged = self._talks.stage([raw], limit=self._talks.settings.chat_file_max_bytes)
        try:
            found = self._talks.reader.read(Path(staged.path), staged.digest, name)
        finally:
            Path(staged.path).unlink(missing_ok=True)
        if found.media_type.startswith("image/"):
            return _picture(found.media_type, base64.b64encode(raw).decode())
        return self._text(name, found.text, counted=True)

    def _text(self, name: str, text: str | None, *, counted: bool = False) -> dict[str, Any]:
        if text is None:
            raise BadInput(f"{name} is neither text, nor a PDF, nor a picture, so no model can read it.")
        if not counted:
            self._count_in(len(text))
        return {"type": "text", "text": f"--- {name} ---\n{text}\n--- end of {name} ---"}

    def _count_in(self, size: int) -> None:
        self._count, self._size = self._count + 1, self._size + size
        if self._count > ATTACHED_MAX or self._size > ATTACHED_BYTES:
            raise TooLarge(f"A request shows at most {ATTACHED_MAX} files, and {ATTACHED_BYTES:,} characters of them.",
                           hint="Send fewer.")


def lend(talks: Talks, content: Any, owner_id: int, account: Account) -> Any:
    """The content with its files copied to another account; one that is gone becomes a sentence."""
    if not isinstance(content, list):
        return content
    return [_lent(talks, part, owner_id, account) for part in content]


def file_id_of(part: dict[str, Any]) -> str | None:
    """The file a part of a message names."""
    said = part.get("file") if part.get("type") == "file" else None
    name = said.get("file_id") if isinstance(said, dict) else None
    return name if isinstance(name, str) else None


def _lent(talks: Talks, part: dict[str, Any], owner_id: int, account: Account) -> dict[str, Any]:
    name = file_id_of(part)
    if name is None:
        return part
    file = talks.files.get(owner_id, name)
    if file is not None:
        copy = replace(file, id=f"file-{secrets.token_hex(16)}", account_id=account.id, created_at=talks.now())
        try:
            if talks.files.lend(file, copy, most=FILES_MAX, most_bytes=talks.settings.user_files_max_bytes):
                return {**part, "file": {**part["file"], "file_id": copy.id}}
        except HeadwaterError as error:
            return {"type": "text", "text": f"[{file.name}: {error.message}]"}
    return {"type": "text", "text": "[A file stood here. It is gone.]"}


def _picture(media_type: str, data: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}}


def _name(name: str) -> str:
    """A name for people and for download: no path, nothing unseen."""
    name = "".join(c for c in name.replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable()).strip()[:255]
    return name.encode("utf-8", "replace").decode() or "file"


def _fits(file_id: str) -> bool:
    return len(file_id) <= 100 and file_id.isprintable() and file_id.isascii()
