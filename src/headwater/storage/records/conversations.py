"""Conversations over SQL: a tree of messages each, found by their words, and presets. Knows no HTTP and no model.

Whoever changes a conversation holds its row, so a tree is never seen half changed: two windows may write at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from headwater.core.errors import Conflict, NotFound, TooLarge
from headwater.core.types import Account, Actor, Conversation, FoundConversation, Message, Preset
from headwater.storage.database import Database, among
from headwater.storage.records import _log
from headwater.storage.records._found import find_page, fold, snippets
from headwater.storage.tables import accounts, conversations, messages, presets

_CHANGEABLE = {"title", "folder", "system", "model", "settings", "leaf"}


class SqlConversations:
    def __init__(self, database: Database):
        self._db = database

    def create(self, conversation: Conversation, messages: Sequence[Message] = (), *, most: int) -> None:
        """Raises Conflict if the id is taken."""
        try:
            with self._db.write() as connection:
                _room(connection, conversations, conversation.account_id, most, "conversations")
                connection.execute(conversations.insert().values(
                    **vars(conversation), found_by=fold(conversation.title)))
                _insert(connection, conversation.id, 0, messages)
        except IntegrityError:
            raise Conflict("There is a conversation of that id, or the account is gone.") from None

    def get(self, account: Account, conversation_id: str) -> Conversation | None:
        with self._db.read() as connection:
            row = connection.execute(_mine(account, conversation_id)).first()
        return _as_conversation(row) if row else None

    def page(self, account: Account, *, words: Sequence[str] = (), folder: str | None = None,
             before: str | None = None, limit: int = 50) -> tuple[list[FoundConversation], str | None]:
        with self._db.read() as connection:
            rows, following = find_page(connection, account, words, folder, before, limit)
            told = snippets(connection, rows, words) if rows else {}
        return [FoundConversation(_as_conversation(row), told.get(row.id, "")) for row in rows], following

    def folders(self, account: Account) -> list[tuple[str, int]]:
        question = (select(conversations.c.folder, func.count()).group_by(conversations.c.folder)
                    .where(conversations.c.account_id == account.id, conversations.c.folder != "")
                    .order_by(conversations.c.folder))
        with self._db.read() as connection:
            return [(name, count) for name, count in connection.execute(question)]

    def update(self, account: Account, conversation_id: str, **fields: Any) -> Conversation | None:
        """Raises TypeError for any other field."""
        if unknown := fields.keys() - _CHANGEABLE:
            raise TypeError(f"a conversation's {', '.join(sorted(unknown))} cannot be changed")
        with self._db.write() as connection:
            row = connection.execute(_mine(account, conversation_id).with_for_update()).first()
            if row is None:
                return None
            if fields.get("leaf") is not None and _message(connection, row.id, fields["leaf"]) is None:
                raise NotFound("The conversation has no such message.", hint="Load it again.")
            if "title" in fields:
                fields["found_by"] = fold(fields["title"])
            if fields:
                connection.execute(update(conversations).where(conversations.c.id == row.id).values(**fields))
            return _as_conversation(connection.execute(_mine(account, conversation_id)).one())

    def share(self, account: Account, conversation_id: str, key: str | None, *, by: Actor) -> Conversation | None:
        with self._db.write() as connection:
            row = connection.execute(_mine(account, conversation_id).with_for_update()).first()
            if row is None or (row.share_key is None) == (key is None):
                return _as_conversation(row) if row else None
            connection.execute(update(conversations).where(conversations.c.id == row.id).values(share_key=key))
            _log.note(connection, self._db.now(), by, "conversation.share" if key else "conversation.unshare",
                      account.name, {"conversation": row.id})
            return _as_conversation(connection.execute(_mine(account, conversation_id)).one())

    def shared(self, key: str) -> tuple[Conversation, Account] | None:
        with self._db.read() as connection:
            row = connection.execute(select(conversations).where(conversations.c.share_key == key)).first()
            owner = row and connection.execute(select(accounts).where(accounts.c.id == row.account_id)).first()
        if row is None or owner is None:
            return None
        return _as_conversation(row), Account(owner.id, owner.name, owner.is_org, owner.fullname, owner.email,
                                              owner.is_admin, owner.created_at)

    def delete(self, account: Account, conversation_id: str) -> bool:
        with self._db.write() as connection:
            return bool(connection.execute(delete(conversations).where(
                conversations.c.id == conversation_id, conversations.c.account_id == account.id)).rowcount)

    def messages(self, conversation: Conversation) -> list[Message]:
        question = (select(messages).where(messages.c.conversation_id == conversation.id)
                    .order_by(messages.c.place))
        with self._db.read() as connection:
            return [_as_message(row) for row in connection.execute(question)]

    def add(self, conversation: Conversation, message: Message, *, most: int) -> Message:
        with self._db.write() as connection:
            _hold(connection, conversation)
            there = _message(connection, conversation.id, message.id)
            if there is not None:
                return _same(_as_message(there), message)
            if message.parent_id is not None and _message(connection, conversation.id, message.parent_id) is None:
                raise NotFound("The message this one answers is gone.", hint="Load the conversation again.")
            count, last = connection.execute(select(func.count(), func.max(messages.c.place)).where(
                messages.c.conversation_id == conversation.id)).one()
            if count >= most:
                raise TooLarge(f"A conversation has at most {most:,} messages.", hint="Go on in a new one.")
            _insert(connection, conversation.id, 0 if last is None else last + 1, [message])
            connection.execute(update(conversations).where(conversations.c.id == conversation.id).values(
                leaf=message.id, updated_at=self._db.now()))
            return message

    def prune(self, conversation: Conversation, message_id: str) -> bool:
        with self._db.write() as connection:
            leaf = _hold(connection, conversation)
            rows = connection.execute(select(messages.c.id, messages.c.parent_id, messages.c.place).where(
                messages.c.conversation_id == conversation.id).order_by(messages.c.place)).all()
            top = next((row for row in rows if row.id == message_id), None)
            if top is None:
                return False
            gone = {top.id}
            for row in rows:  # an answer comes after what it answers
                if row.parent_id in gone:
                    gone.add(row.id)
            connection.execute(delete(messages).where(messages.c.conversation_id == conversation.id,
                                                      among(messages.c.id, gone)))
            connection.execute(update(conversations).where(conversations.c.id == conversation.id).values(
                leaf=top.parent_id if leaf in gone else leaf, updated_at=self._db.now()))
            return True

    def presets(self, account: Account) -> list[Preset]:
        question = select(presets).where(presets.c.account_id == account.id).order_by(presets.c.name, presets.c.id)
        with self._db.read() as connection:
            return [Preset(row.id, row.account_id, row.name, row.body, row.created_at)
                    for row in connection.execute(question)]

    def keep_preset(self, preset: Preset, *, most: int) -> None:
        mine = (presets.c.id == preset.id) & (presets.c.account_id == preset.account_id)
        try:
            with self._db.write() as connection:
                if connection.execute(update(presets).where(mine).values(name=preset.name, body=preset.body)).rowcount:
                    return
                _room(connection, presets, preset.account_id, most, "presets")
                connection.execute(presets.insert().values(**vars(preset)))
        except IntegrityError:
            raise Conflict(f"There is a preset named {preset.name!r} already.", hint="Choose another name.") from None

    def delete_preset(self, account: Account, preset_id: str) -> bool:
        with self._db.write() as connection:
            return bool(connection.execute(delete(presets).where(
                presets.c.id == preset_id, presets.c.account_id == account.id)).rowcount)


def _mine(account: Account, conversation_id: str) -> Any:
    return select(conversations).where(conversations.c.id == conversation_id, conversations.c.account_id == account.id)


def _hold(connection: Connection, conversation: Conversation) -> str | None:
    """The leaf, the row held to the end of the transaction. Raises NotFound."""
    row = connection.execute(select(conversations.c.leaf).where(
        conversations.c.id == conversation.id).with_for_update()).first()
    if row is None:
        raise NotFound("The conversation was deleted meanwhile.")
    return row.leaf


def _room(connection: Connection, table: Table, account_id: int, most: int, what: str) -> None:
    connection.execute(select(accounts.c.id).where(accounts.c.id == account_id).with_for_update())
    count = connection.scalar(select(func.count()).select_from(table).where(table.c.account_id == account_id)) or 0
    if count >= most:
        raise TooLarge(f"An account keeps at most {most:,} {what} here.", hint="Delete some first.")


def _message(connection: Connection, conversation_id: str, message_id: str) -> Row[Any] | None:
    return connection.execute(select(messages).where(
        messages.c.conversation_id == conversation_id, messages.c.id == message_id)).first()


def _insert(connection: Connection, conversation_id: str, place: int, added: Sequence[Message]) -> None:
    rows = [{**vars(message), "conversation_id": conversation_id, "place": place + n, "found_by": fold(message.text)}
            for n, message in enumerate(added)]
    if rows:
        connection.execute(messages.insert(), rows)


def _same(there: Message, message: Message) -> Message:
    if (there.parent_id, there.role, there.content) != (message.parent_id, message.role, message.content):
        raise Conflict("The conversation has another message of that id.", hint="Choose a new id.")
    return there


def _as_conversation(row: Row[Any]) -> Conversation:
    return Conversation(row.id, row.account_id, row.title, row.folder, row.system, row.model, row.settings, row.leaf,
                        row.share_key, row.created_at, row.updated_at)


def _as_message(row: Row[Any]) -> Message:
    return Message(row.id, row.parent_id, row.role, row.content, row.reasoning, row.model, row.made, row.created_at)
