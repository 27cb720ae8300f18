"""Fixtures every part may use. The PostgreSQL cluster is in conftest_postgres.py."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Two of pytest's processes and the hubs they start share two cores: threads of BLAS that wait for each other on busy
# ones took five times as long as one alone.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

pytest_plugins = ["conftest_postgres", "server", "conftest_clients", "conftest_browser", "conftest_groups"]


@pytest.fixture
def world(database_url: str | None, tmp_path: Path) -> Iterator[object]:
    """record_samples.World on a fresh database, once on SQLite and once on PostgreSQL."""
    from record_samples import Clock, World

    from headwater.storage.records import open_records

    clock = Clock()
    records = open_records(database_url, tmp_path, clock)
    yield World(records, clock)
    records.close()
