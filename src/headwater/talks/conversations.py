"""Begin a conversation, add to it, share it, take over another's, keep presets. Knows limits; knows no HTTP."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from typing import Any

from headwater.core.errors import BadInput, NotFound, TooLarge
from headwater.core.types import Account, Actor, Conversation, Message, Preset
from headwater.talks import Talks
from headwater.talks.files import lend

MESSAGES_MAX, MESSAGE_MAX, PARTS_MAX = 2_000, 1_000_000, 100
PRESETS_MAX, BODY_MAX = 200, 64_000
WORDS_MAX = 10
ROLES = ("user", "assistant", "system", "tool")
PARTS = ("text", "image_url", "file")
_ID = re.compile(r"[0-9a-f]{32}\Z")


def begin(talks: Talks, account: Account, fields: dict[str, Any], messages: Sequence[Message] = (), *,
          leaf: str | None = None) -> Conversation:
    """A new conversation. fields: of title, folder, system, model and settings, each with a default.
    Raises TooLarge at the account's limit."""
    now = talks.now()
    made = Conversation(secrets.token_hex(16), account.id, leaf=leaf, share_key=None, created_at=now, updated_at=now,
                        **checked({"title": "", "folder": "", "system": "", "model": "", "settings": {}, **fields}))
    talks.conversations.create(made, messages, most=talks.settings.user_conversations_max)
    return made


def find(talks: Talks, account: Account, conversation_id: str) -> Conversation:
    """Raises NotFound, also for what belongs to another."""
    found = talks.conversations.get(account, conversation_id) if _ID.match(conversation_id) else None
    if found is None:
        raise _nowhere()
    return found


def change(talks: Talks, account: Account, conversation_id: str, fields: dict[str, Any]) -> Conversation:
    find(talks, account, conversation_id)
    return talks.conversations.update(account, conversation_id, **checked(fields)) or _gone()


def say(talks: Talks, account: Account, conversation_id: str, message: Message) -> Message:
    """Add a message, checked. Raises as core.ports.Conversations.add."""
    return talks.conversations.add(find(talks, account, conversation_id), check(message), most=MESSAGES_MAX)


def prune(talks: Talks, account: Account, conversation_id: str, message_id: str) -> None:
    if not talks.conversations.prune(find(talks, account, conversation_id), message_id):
        raise NotFound("The conversation has no such message.")


def share(talks: Talks, actor: Actor, account: Account, conversation_id: str) -> str:
    """The key of its shared page; the same one while it is shared."""
    find(talks, account, conversation_id)
    shared = talks.conversations.share(account, conversation_id, secrets.token_urlsafe(24), by=actor) or _gone()
    return shared.share_key or _gone()


def unshare(talks: Talks, actor: Actor, account: Account, conversation_id: str) -> None:
    find(talks, account, conversation_id)
    talks.conversations.share(account, conversation_id, None, by=actor)


def find_shared(talks: Talks, key: str) -> tuple[Conversation, Account, list[Message]]:
    """What is shared under this key, whose it is, and the branch that is shown."""
    found = talks.conversations.shared(key) if re.fullmatch(r"[A-Za-z0-9_-]{32}", key) else None
    if found is None:
        raise NotFound("Nothing is shared at this address, or it is not shared any more.")
    conversation, owner = found
    return conversation, owner, branch(talks.conversations.messages(conversation), conversation.leaf)


def take_over(talks: Talks, account: Account, key: str, upto: str | None = None) -> Conversation:
    """One's own copy of what is shared, up to a message of it or whole, with its files."""
    theirs, owner, shown = find_shared(talks, key)
    if upto is not None:
        places = [n for n, message in enumerate(shown) if message.id == upto]
        if not places:
            raise NotFound("The shared conversation has no such message any more.", hint="Load the page again.")
        shown = shown[:places[0] + 1]
    copied = [Message(m.id, m.parent_id, m.role, lend(talks, m.content, owner.id, account), m.reasoning, m.model,
                      m.made, m.created_at) for m in shown]
    fields = {"title": theirs.title, "system": theirs.system, "model": theirs.model, "settings": theirs.settings}
    return begin(talks, account, fields, copied, leaf=copied[-1].id if copied else None)


def branch(messages: Sequence[Message], leaf: str | None) -> list[Message]:
    """From the first message to the leaf."""
    known = {message.id: message for message in messages}
    shown: list[Message] = []
    while leaf is not None and (message := known.get(leaf)) is not None and len(shown) < len(known):
        shown.append(message)
        leaf = message.parent_id
    return shown[::-1]


def keep_preset(talks: Talks, account: Account, preset_id: str | None, name: str, body: dict[str, Any]) -> Preset:
    """A new one, or what is to stand under this id. Raises NotFound, Conflict for a name in use, TooLarge."""
    if preset_id is not None and preset_id not in [one.id for one in talks.conversations.presets(account)]:
        raise NotFound("No such preset here.")
    _small("body", body)
    preset = Preset(preset_id or secrets.token_hex(16), account.id, _clean("name", name, 100), body, talks.now())
    if not preset.name.strip():
        raise BadInput("A preset wants a name.")
    talks.conversations.keep_preset(preset, most=PRESETS_MAX)
    return preset


# --- checks


def checked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a conversation as they may be kept. Raises BadInput, TooLarge."""
    most = {"title": 300, "folder": 200, "model": 500, "system": 200_000}
    for name, value in fields.items():
        if name in most:
            fields = {**fields, name: _clean(name, value, most[name])}
    if "settings" in fields:
        _small("settings", fields["settings"])
    return fields


def check(message: Message) -> Message:
    """Raises BadInput or TooLarge, naming what is wrong."""
    for name, value in (("id", message.id), ("parent", message.parent_id)):
        if value is not None and not _ID.match(value):
            raise BadInput(f"{name}: 32 hexadecimal digits in small letters.")
    if message.role not in ROLES:
        raise BadInput(f"role: one of {', '.join(ROLES)}.")
    if message.parent_id == message.id:
        raise BadInput("parent: a message does not answer itself.")
    _clean("model", message.model, 500)
    if isinstance(message.content, list):
        _check_parts(message.content)
    if (size := _size("message", [message.content, message.reasoning, message.made])) > MESSAGE_MAX:
        raise TooLarge(f"The message has {size:,} bytes; at most {MESSAGE_MAX:,} are kept.",
                       hint="Send pictures and documents to /v1/files and name them.")
    if "\0" in message.reasoning:
        return Message(**{**vars(message), "reasoning": message.reasoning.replace("\0", "")})
    return message


def _check_parts(parts: list[Any]) -> None:
    if len(parts) > PARTS_MAX:
        raise TooLarge(f"content: at most {PARTS_MAX} parts.")
    for n, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("type") not in PARTS:
            raise BadInput(f"content[{n}]: a part of type {', '.join(PARTS)}.")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise BadInput(f"content[{n}].text: must be text.")


def _clean(name: str, value: str, most: int) -> str:
    if len(value) > most:
        raise TooLarge(f"{name}: at most {most:,} characters.")
    if "\0" in value:
        raise BadInput(f"{name}: holds a NUL character.")
    return value


def _small(name: str, value: dict[str, Any]) -> None:
    if _size(name, value) > BODY_MAX:
        raise TooLarge(f"{name}: at most {BODY_MAX:,} bytes.")


def _size(name: str, value: Any) -> int:
    """Bytes as it will be kept. Raises BadInput for what JSON, or UTF-8, has no word for."""
    try:
        return len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError):  # UnicodeEncodeError is a ValueError
        raise BadInput(f"{name}: holds a number that is none, a broken character, or is nested too deep.") from None


def _nowhere() -> NotFound:
    return NotFound("No such conversation here.", hint="GET /api/headwater/conversations lists yours.")


def _gone() -> Any:
    raise _nowhere()
