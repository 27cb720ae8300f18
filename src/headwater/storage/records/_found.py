"""A page of conversations that hold some words, and a snippet of each. Knows the tables; knows no verb.

Texts are kept folded in `found_by`, letter for letter, so that a place in the folded text is a place in the text.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, exists, func, literal, null, or_, select, tuple_

from headwater.core.errors import BadInput
from headwater.core.types import Account, Message
from headwater.storage.database import among
from headwater.storage.tables import conversations, messages

BEFORE, WINDOW = 40, 160
_WHOLE_MAX = 50_000
"""Longer messages give their snippet in folded letters: their content is not fetched for it."""


def fold(text: str) -> str:
    """In small letters, of the same length, without NUL (which PostgreSQL's texts cannot hold)."""
    low = text.lower()
    if len(low) != len(text):  # a few letters, such as 'İ', grow
        low = "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)
    return low.replace("\0", " ")


def find_page(connection: Connection, account: Account, words: Sequence[str], folder: str | None,
              before: str | None, limit: int) -> tuple[list[Row[Any]], str | None]:
    """Rows of `conversations`, newest first, and the cursor of the next page. Raises BadInput."""
    question = select(conversations).where(conversations.c.account_id == account.id, *map(_holds, words))
    if folder is not None:
        question = question.where(conversations.c.folder == folder)
    order = tuple_(conversations.c.updated_at, conversations.c.id)
    if before is not None:
        question = question.where(order < tuple_(*_read_cursor(before)))
    rows = list(connection.execute(
        question.order_by(conversations.c.updated_at.desc(), conversations.c.id.desc()).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], _cursor(rows[limit - 1])


def snippets(connection: Connection, rows: Sequence[Row[Any]], words: Sequence[str]) -> dict[str, str]:
    """By conversation: a piece of the first message that holds one of the words, else of the leaf."""
    ids = among(messages.c.conversation_id, [row.id for row in rows])
    told = _pieces(connection, and_(ids, exists().where(conversations.c.id == messages.c.conversation_id,
                                                        conversations.c.leaf == messages.c.id)), "")
    for word in reversed(words):
        told |= _pieces(connection, and_(ids, messages.c.found_by.contains(fold(word), autoescape=True)), fold(word))
    return told


def _holds(word: str) -> ColumnElement[bool]:
    folded = fold(word)
    return or_(conversations.c.found_by.contains(folded, autoescape=True),
               exists().where(messages.c.conversation_id == conversations.c.id,
                              messages.c.found_by.contains(folded, autoescape=True)))


def _pieces(connection: Connection, which: ColumnElement[bool], word: str) -> dict[str, str]:
    place_of = func.instr if connection.dialect.name == "sqlite" else func.strpos
    place = place_of(messages.c.found_by, word) if word else literal(1)
    start = case((place > BEFORE, place - BEFORE), else_=1)
    first = func.row_number().over(partition_by=messages.c.conversation_id, order_by=messages.c.place)
    inner = select(
        messages.c.conversation_id, first.label("nth"), (start - 1).label("start"),
        func.substr(messages.c.found_by, start, WINDOW).label("folded"),
        case((func.length(messages.c.found_by) <= _WHOLE_MAX, messages.c.content), else_=null()).label("content"),
    ).where(which).subquery()
    return {row.conversation_id: _piece(row) for row in connection.execute(select(inner).where(inner.c.nth == 1))}


def _piece(row: Row[Any]) -> str:
    text = row.folded
    if row.content is not None:
        text = Message("", None, "", row.content, "", "", {}, 0.0).text[row.start:row.start + WINDOW]
    return " ".join(text.split())


def _cursor(row: Row[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.updated_at, row.id]).encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[float, str]:
    try:
        at, last = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if type(at) not in (int, float) or abs(at) > 1e12 or not isinstance(last, str) or "\0" in last:
            raise ValueError("no place in the list")
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise BadInput("The page cursor is not one of this list.", hint="Start again without it.") from None
    return at, last
