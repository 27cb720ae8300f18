"""One page of the list of repos, and the cursor to the next. Knows who may see what; knows no HTTP.

Paging is by key, not by offset: the cursor holds the last row's place in the order, and the next page begins
after that place. Repos that come or go meanwhile neither repeat nor hide a row whose place did not change.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, and_, false, func, or_, select, true, tuple_

from headwater.core.errors import BadInput
from headwater.core.types import Access, Actor, Kind, Search
from headwater.storage.database import among
from headwater.storage.tables import accounts, memberships, repo_tags, repos

_ORDERS: dict[str, Column[Any]] = {
    "created": repos.c.created_at,
    "updated": repos.c.updated_at,
    "likes": repos.c.likes,
    "downloads": repos.c.downloads,
    "name": repos.c.key,
    "size": repos.c.size_bytes,
}


def find_page(connection: Connection, search: Search) -> tuple[list[Row[Any]], str | None]:
    """Rows of `repos` and the cursor of the next page. Raises BadInput for an unknown order or a bad cursor."""
    if search.sort not in _ORDERS:
        raise BadInput(f"Repos cannot be sorted by {search.sort!r}.", hint=f"There are: {', '.join(_ORDERS)}.")
    order = _ORDERS[search.sort]
    limit = max(1, search.limit)
    question = select(repos).where(repos.c.kind == search.kind, visible(search.viewer), *_filters(search))
    if search.after is not None:
        place, last = tuple_(order, repos.c.id), tuple_(*_read_cursor(search))
        question = question.where(place < last if search.descending else place > last)
    directed = (order.desc(), repos.c.id.desc()) if search.descending else (order, repos.c.id)
    rows = list(connection.execute(question.order_by(*directed).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], _cursor(search, rows[limit - 1]._mapping[order], rows[limit - 1].id)


def tally(connection: Connection, kind: Kind, viewer: Actor, limit: int) -> list[tuple[str, int]]:
    """Tags of what the viewer sees, and how many repos have each; most used first, then by name."""
    many = func.count()
    question = (select(repo_tags.c.tag, many).join(repos, repos.c.id == repo_tags.c.repo_id)
                .where(repos.c.kind == kind, visible(viewer)).group_by(repo_tags.c.tag)
                .order_by(many.desc(), repo_tags.c.tag).limit(limit))
    return [(tag, n) for tag, n in connection.execute(question)]


def visible(viewer: Actor) -> ColumnElement[bool]:
    """Public, or of a namespace the viewer may read, as far as the token reaches."""
    if viewer.account is None or not viewer.scope.covers(Access.READ):
        return ~repos.c.private
    if viewer.account.is_admin:
        own: ColumnElement[bool] = true()
    else:
        orgs = (select(accounts.c.key).join(memberships, memberships.c.org_id == accounts.c.id)
                .where(memberships.c.user_id == viewer.account.id))
        own = or_(repos.c.owner_key == viewer.account.name.lower(), repos.c.owner_key.in_(orgs))
    return or_(~repos.c.private, and_(own, _reached(viewer.repos)))


def _reached(keys: tuple[str, ...] | None) -> ColumnElement[bool]:
    if keys is None:
        return true()
    return among(repos.c.kind + "/" + repos.c.owner + "/" + repos.c.name, keys) if keys else false()


def _filters(search: Search) -> list[ColumnElement[bool]]:
    """Every word of the text stands in owner/name; every tag is one of the repo's."""
    filters = [repos.c.key.contains(word, autoescape=True) for word in (search.text or "").lower().split()[:20]]
    if search.owner is not None:
        filters.append(repos.c.owner_key == search.owner.lower())
    wanted = set(search.tags)
    if wanted:
        tagged = (select(repo_tags.c.repo_id).where(among(repo_tags.c.tag, wanted))
                  .group_by(repo_tags.c.repo_id).having(func.count() == len(wanted)))
        filters.append(repos.c.id.in_(tagged))
    return filters


def _cursor(search: Search, value: float | str, last: int) -> str:
    text = json.dumps([search.sort, search.descending, value, last])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(search: Search) -> tuple[float | str, int]:
    try:
        text = base64.urlsafe_b64decode(search.after + "=" * (-len(search.after) % 4))
        sort, descending, value, last = json.loads(text)
        fits = isinstance(value, str) if search.sort == "name" else type(value) in (int, float)
        if (sort, descending) != (search.sort, search.descending) or not fits or type(last) is not int:
            raise ValueError("another order")
        if abs(last) >= 2**63 or (type(value) is int and abs(value) >= 2**63):
            raise ValueError("out of range")
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise BadInput("The page cursor is not one of this list.", hint="Start again without it.") from None
    return value, last
