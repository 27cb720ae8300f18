"""Records: everything but the bytes, in one database. open_records is the door; one file a port."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from headwater.core.events import Bus
from headwater.core.ports import (
    Accounts,
    Behaviours,
    Conversations,
    Deltas,
    Files,
    Films,
    FilmVotes,
    History,
    Holdings,
    Lineage,
    Repos,
    Responses,
    Spending,
)
from headwater.storage.database import Database, open_engine


@dataclass(frozen=True)
class Records:
    """The ports, and under them the engine and the database, for the parts that keep a table of their own."""

    engine: Engine
    database: Database
    repos: Repos
    history: History
    holdings: Holdings
    accounts: Accounts
    bus: Bus
    spending: Spending
    responses: Responses
    conversations: Conversations
    files: Files
    lineage: Lineage
    films: Films
    deltas: Deltas
    behaviours: Behaviours
    film_votes: FilmVotes

    def close(self) -> None:
        self.engine.dispose()


def open_records(database_url: str | None, data: Path, now: Callable[[], float] = time.time) -> Records:
    """Open, and bring up to date, the records at `database_url`, or in data/headwater.db when it is None or empty.

    now: seconds since 1970. Raises BadInput for a URL that is not PostgreSQL's, Unavailable if the database does
    not answer or was written by a newer Headwater.
    """
    from headwater.storage.migrations import upgrade
    from headwater.storage.records.accounts import SqlAccounts
    from headwater.storage.records.behaviours import SqlBehaviours
    from headwater.storage.records.bus import SqlBus
    from headwater.storage.records.conversations import SqlConversations
    from headwater.storage.records.deltas import SqlDeltas
    from headwater.storage.records.files import SqlFiles
    from headwater.storage.records.film_votes import SqlFilmVotes
    from headwater.storage.records.films import SqlFilms
    from headwater.storage.records.history import SqlHistory
    from headwater.storage.records.holdings import SqlHoldings
    from headwater.storage.records.lineage import SqlLineage
    from headwater.storage.records.repos import SqlRepos
    from headwater.storage.records.responses import SqlResponses
    from headwater.storage.records.spending import SqlSpending

    database = Database(open_engine(database_url, data), now)
    upgrade(database)
    return Records(database.engine, database, SqlRepos(database), SqlHistory(database), SqlHoldings(database),
                   SqlAccounts(database), SqlBus(database), SqlSpending(database), SqlResponses(database),
                   SqlConversations(database), SqlFiles(database), SqlLineage(database), SqlFilms(database),
                   SqlDeltas(database), SqlBehaviours(database), SqlFilmVotes(database))
