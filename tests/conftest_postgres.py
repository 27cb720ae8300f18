"""A throwaway PostgreSQL, started once a session on a unix socket; a fresh database for each test that asks.

    postgres_url         an empty one
    database_url         what open_records takes, on SQLite and on PostgreSQL: the tables are there, and nothing in them
    empty_database_url   the same without tables
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_MISSING = "PostgreSQL's server programs are missing; install them: apt-get install postgresql"


def server_programs() -> Path | None:
    """The folder with initdb and postgres. Debian keeps them out of PATH, one folder a version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def _unprivileged() -> Callable[[], None] | None:
    """What a child does to give up root, as whom PostgreSQL refuses to run; None when we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]

    def drop() -> None:
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return drop


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[str]:
    """URL of a database server; skips, saying what to install, when there is none."""
    programs = server_programs()
    if programs is None:
        pytest.skip(_MISSING)
    # Not tmp_path: a socket's path has at most 107 bytes, and the other user must be able to get there.
    folder = Path(tempfile.mkdtemp(prefix="hw-pg-"))
    folder.chmod(0o777)
    drop, data = _unprivileged(), folder / "data"
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    options = {"cwd": folder, "preexec_fn": drop, "env": environ}
    try:
        subprocess.run([programs / "initdb", "-D", data, "-U", "headwater", "-A", "trust", "-E", "UTF8", "--no-sync"],
                       check=True, capture_output=True, **options)
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=",
                 "-c", "shared_buffers=32MB", "-c", "max_connections=200", "-c", "fsync=off"],
                stdout=log, stderr=log, **options)
        try:
            _wait(programs, folder, server)
            yield f"postgresql://headwater@/{{}}?host={folder}"
        finally:
            server.terminate()
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(programs: Path, folder: Path, server: subprocess.Popen[bytes]) -> None:
    asked = subprocess.run([programs / "pg_isready", "-h", folder, "-t", "1", "-q"])
    for _ in range(300):
        if asked.returncode == 0:
            return
        assert server.poll() is None, (folder / "log").read_text()
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            asked = subprocess.run([programs / "pg_isready", "-h", folder, "-t", "1", "-q"])
    raise AssertionError("PostgreSQL did not start in 30 s: " + (folder / "log").read_text())


_numbers = itertools.count()


@contextlib.contextmanager
def _database(cluster: str, like: str = "template1") -> Iterator[str]:
    """URL of a database that is a copy of another, dropped in the end."""
    import psycopg

    name = f"hw{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(cluster.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        yield cluster.format(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_cluster: str) -> Iterator[str]:
    """URL of a fresh, empty database."""
    with _database(postgres_cluster) as url:
        yield url


def _migrated(url: str | None, folder: Path) -> None:
    from headwater.storage.records import open_records

    open_records(url, folder).close()


@pytest.fixture(scope="session")
def postgres_with_tables(postgres_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a database to copy: the migrations take longer than most tests, and are the same each time."""
    import psycopg

    with psycopg.connect(postgres_cluster.format("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE with_tables")
    _migrated(postgres_cluster.format("with_tables"), tmp_path_factory.mktemp("with-tables"))
    return "with_tables"


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with-tables")
    _migrated(None, folder)
    return folder / "headwater.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str | None:
    """None for SQLite, or the URL of a fresh PostgreSQL database."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """None for SQLite in tmp_path, or the URL of a PostgreSQL database of this test alone; at the newest schema."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_with_tables"), tmp_path)
        yield None
    else:
        like = request.getfixturevalue("postgres_with_tables")
        with _database(request.getfixturevalue("postgres_cluster"), like) as url:
            yield url
