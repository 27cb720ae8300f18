"""A conversation as JSON with every branch, and back; the shown branch as Markdown. Knows no store."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

from headwater.core.errors import BadInput, TooLarge
from headwater.core.types import Conversation, Message
from headwater.talks.conversations import MESSAGES_MAX, check

FORMAT = 1
NAMES = ("title", "folder", "system", "model", "settings")


def as_json(conversation: Conversation, messages: Sequence[Message]) -> dict[str, Any]:
    """What read_json takes. Times are seconds since 1970."""
    return {"headwater_conversation": FORMAT, **{name: getattr(conversation, name) for name in NAMES},
            "leaf": conversation.leaf, "created": conversation.created_at, "updated": conversation.updated_at,
            "messages": [told(message) for message in messages]}


def told(message: Message) -> dict[str, Any]:
    return {"id": message.id, "parent": message.parent_id, "role": message.role, "content": message.content,
            "reasoning": message.reasoning, "model": message.model, "made": message.made,
            "created": message.created_at}


def read_json(said: Any) -> tuple[dict[str, Any], list[Message], str | None]:
    """(fields, messages, leaf) of an export. Raises BadInput, naming the message, or TooLarge."""
    if not isinstance(said, dict) or said.get("headwater_conversation") != FORMAT:
        raise BadInput("This is no conversation that Headwater exported.", hint="Export one with form=json.")
    fields = {name: said[name] for name in NAMES if name in said}
    for name, value in fields.items():
        if not isinstance(value, dict if name == "settings" else str):
            raise BadInput(f"{name}: is of the wrong type.")
    given = said.get("messages", [])
    if not isinstance(given, list):
        raise BadInput("messages: must be a list.")
    if len(given) > MESSAGES_MAX:
        raise TooLarge(f"A conversation has at most {MESSAGES_MAX:,} messages.")
    messages: list[Message] = []
    known: set[str] = set()
    for n, one in enumerate(given):
        message = _message(f"messages[{n}]", one)
        if message.id in known or message.parent_id not in known | {None}:
            raise BadInput(f"messages[{n}]: answers none that stands before it, or its id stands twice.")
        known.add(message.id)
        messages.append(message)
    leaf = said.get("leaf")
    if leaf is not None and leaf not in known:
        raise BadInput("leaf: is none of the messages.")
    return fields, messages, leaf


def _message(where: str, said: Any) -> Message:
    kinds: dict[str, Any] = {"id": str, "parent": str | None, "role": str, "content": str | list, "reasoning": str,
                             "model": str, "made": dict, "created": int | float}
    if not isinstance(said, dict):
        raise BadInput(f"{where}: must be an object.")
    values = {"parent": None, "reasoning": "", "model": "", "made": {}, "created": 0.0, **said}
    for name, kind in kinds.items():
        if not isinstance(values.get(name), kind) or isinstance(values[name], bool):
            raise BadInput(f"{where}.{name}: is missing or of the wrong type.")
    if not 0 <= values["created"] < 1e11:
        raise BadInput(f"{where}.created: is no time.")
    try:
        return check(Message(values["id"], values["parent"], values["role"], values["content"], values["reasoning"],
                             values["model"], values["made"], float(values["created"])))
    except (BadInput, TooLarge) as error:
        raise type(error)(f"{where}: {error.message}", hint=error.hint) from None


def as_markdown(conversation: Conversation, shown: Sequence[Message]) -> str:
    """The shown branch, with who answered at which revision."""
    lines = [f"# {_line(conversation.title) or 'Conversation'}", "", f"*{_day(conversation.created_at)}*", ""]
    if conversation.system:
        lines += ["## System", "", conversation.system, ""]
    for message in shown:
        lines += [f"## {_heading(message)}", ""]
        if note := receipt(message):
            lines += [f"*{note}*", ""]
        if message.reasoning:
            lines += ["<details><summary>Reasoning</summary>", "", message.reasoning, "", "</details>", ""]
        lines += [body(message), ""]
    return "\n".join(lines)


def body(message: Message) -> str:
    """What a person reads of it, as Markdown: pictures and files by name."""
    if isinstance(message.content, str):
        return message.content
    return "\n\n".join(_part(part) for part in message.content)


def receipt(message: Message) -> str:
    """Which revision answered, on what, with which seed; "" for what no model said."""
    made = message.made
    said = [str(made[name])[:200] for name in ("repo", "engine", "build") if made.get(name)]
    if made.get("revision"):
        said.insert(1 if made.get("repo") else 0, f"revision {str(made['revision'])[:64]}")
    if isinstance(made.get("seed"), int):
        said.append(f"seed {made['seed']}")
    return _line(", ".join(said))


def file_name(conversation: Conversation, ending: str) -> str:
    """For a download: the title without what file systems or headers dislike."""
    title = "".join(c if c.isalnum() or c in " -_." else "-" for c in _line(conversation.title)).strip(" .-")[:80]
    return f"{title or 'conversation'}.{ending}"


def _heading(message: Message) -> str:
    names = {"user": "User", "system": "System", "tool": "Tool"}
    return names.get(message.role) or _line(message.model) or "Assistant"


def _part(part: dict[str, Any]) -> str:
    if part["type"] == "text":
        return str(part["text"])
    said = part.get("file")
    name = said.get("filename") if isinstance(said, dict) else None
    return f"[{_line(name)[:255]}]" if isinstance(name, str) and name else \
        "[file]" if part["type"] == "file" else "[image]"


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
