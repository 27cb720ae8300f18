"""Files in a request's messages become what a model is shown: text, or a picture. Knows OpenAI's two ways to name them.

Chat: {"type": "file", "file": {"file_id"} or {"file_data", "filename"}}. Responses: input_file with the same keys, and
input_image with a file_id. What else stands in a message is left as it is.
"""

from __future__ import annotations

import asyncio
from typing import Any

from headwater.api.openai.tools import Malformed
from headwater.api.person import need_person
from headwater.chat.types import UnsupportedParameter
from headwater.core.errors import BadInput, NotSignedIn
from headwater.core.types import Actor
from headwater.talks import Talks
from headwater.talks.files import Attached


async def show_chat_files(talks: Talks, actor: Actor, messages: list[Any]) -> None:
    """Replace the files in these messages. Raises as talks.files.Attached, and Malformed."""
    if any(_is_file(part) for message in messages if isinstance(message.content, list) for part in message.content):
        await asyncio.to_thread(_Shower(talks, actor).chat, messages)


async def show_response_files(talks: Talks, actor: Actor, items: list[Any]) -> list[Any]:
    """The same of the items of a response, of which the ones that are kept go on naming their files."""
    if not any(_is_file(part) for item in items for part in _parts(item)):
        return items
    return await asyncio.to_thread(_Shower(talks, actor).items, items)


class _Shower:
    def __init__(self, talks: Talks, actor: Actor):
        self._talks, self._actor = talks, actor
        self._attached: Attached | None = None

    def chat(self, messages: list[Any]) -> None:
        for n, message in enumerate(messages):
            if isinstance(message.content, list):
                message.content = [self._shown(f"messages[{n}].content[{k}]", part, part.get("file"))
                                   if part.get("type") == "file" else part for k, part in enumerate(message.content)]

    def items(self, given: list[Any]) -> list[Any]:
        return [{**item, "content": [self._input(f"input[{n}].content[{k}]", part) if _is_file(part) else part
                                     for k, part in enumerate(item["content"])]}
                if _parts(item) else item for n, item in enumerate(given)]

    def _input(self, where: str, part: dict[str, Any]) -> dict[str, Any]:
        shown = self._shown(where, part, part)
        if shown["type"] == "text":
            if part["type"] == "input_image":
                raise Malformed(f"{where}: the file is no picture.", "input")
            return {"type": "input_text", "text": shown["text"]}
        return {"type": "input_image", "image_url": shown["image_url"]["url"]}

    def _shown(self, where: str, part: dict[str, Any], said: Any) -> dict[str, Any]:
        if not isinstance(said, dict) or (said.get("file_id") is None) is (said.get("file_data") is None):
            if isinstance(said, dict) and said.get("file_url") is not None:
                raise UnsupportedParameter(f"{where}.file_url is not fetched.", param=where,
                                           hint="Send the file to /v1/files, or as file_data.")
            raise Malformed(f"{where}: wants a file_id or file_data.", where)
        try:
            if said.get("file_id") is not None:
                need_person(self._actor)
                return self._files().by_id(said["file_id"])
            return self._files().inline(said.get("filename"), said["file_data"])
        except BadInput as error:
            raise Malformed(f"{where}: {error}", where) from None

    def _files(self) -> Attached:
        if self._attached is None:
            if self._actor.account is None:
                raise NotSignedIn("Files are shown to models for those who are signed in.",
                                  hint="Make a token with `headwater token create`.")
            self._attached = Attached(self._talks, self._actor.account)
        return self._attached


def _parts(item: Any) -> list[Any]:
    content = item.get("content") if isinstance(item, dict) else None
    return content if isinstance(content, list) else []


def _is_file(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    kind = part.get("type")
    return kind in ("file", "input_file") or (kind == "input_image" and part.get("file_id") is not None)
