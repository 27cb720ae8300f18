"""Bring a database up to the schema of tables.py. Runs alembic from inside the package; needs no alembic.ini."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from headwater.core.errors import Unavailable
from headwater.storage.database import Database

HEAD = "0011"
"""The newest migration. Kept here so that opening an up-to-date database need not load alembic."""

FOLDER = Path(__file__).parent
_LOCK = 0x68656164  # any number, the same for every Headwater


def upgrade(database: Database) -> None:
    """Run the migrations still missing, in one transaction; several processes may come at once.

    Raises Unavailable if the database was written by a newer Headwater.
    """
    with database.read() as connection:
        if _version(connection) == HEAD:
            return
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if _version(connection) != HEAD:
            migrate(connection, "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def migrate(connection: Connection, target: str) -> None:
    """Run the migrations up to `target`, a revision or "head", in the transaction that is open.

    Raises Unavailable if the database, or the target, is of a newer Headwater.
    """
    from alembic.command import upgrade as run
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    version = _version(connection) if target in known | {"head"} else target
    if version is not None and version not in known:
        raise Unavailable(f"The database was written by a newer Headwater (schema {version}, this one knows {HEAD}).",
                          hint="Install that version, or restore a backup made by this one.")
    run(config, target)
