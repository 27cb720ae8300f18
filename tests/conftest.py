"""Fixtures every part may use. The PostgreSQL cluster is in conftest_postgres.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["conftest_postgres", "server", "conftest_clients", "conftest_browser"]


@pytest.fixture
def world(database_url: str | None, tmp_path: Path) -> Iterator[object]:
    """record_samples.World on a fresh database, once on SQLite and once on PostgreSQL."""
    from record_samples import Clock, World

    from headwater.storage.records import open_records

    clock = Clock()
    records = open_records(database_url, tmp_path, clock)
    yield World(records, clock)
    records.close()
