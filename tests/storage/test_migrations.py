"""The migrations, run one after another, make exactly the schema of tables.py. On SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import threading
import time

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from conftest_postgres import server_programs
from sqlalchemy import text

from headwater.storage.database import Database, open_engine
from headwater.storage.migrations import FOLDER, HEAD, migrate, upgrade
from headwater.storage.records import open_records
from headwater.storage.records.lineage import SqlLineage
from headwater.storage.tables import metadata


def test_head_is_the_newest_migration_and_there_is_one_line_of_them():
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_alembic_sees_no_difference_between_the_migrated_schema_and_the_tables(world):
    with world.records.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrated_schema_is_the_one_the_tables_make_to_the_letter(world, tmp_path):
    """Alembic does not compare partial indexes, collations or WITHOUT ROWID; the database's own words do."""
    migrated = said(world.records.engine)
    if world.records.engine.dialect.name == "sqlite":
        (tmp_path / "made").mkdir()
        made = open_engine(None, tmp_path / "made")
    else:
        with world.records.engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA made"))
        made = open_engine(world.records.engine.url.update_query_dict(
            {"options": "-csearch_path=made"}).render_as_string(hide_password=False), tmp_path)
    metadata.create_all(made)
    assert said(made) == migrated
    made.dispose()


def said(engine) -> set[str]:
    """The schema in the database's words, one text a table or index, in any order of columns' constraints."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT sql FROM sqlite_master WHERE sql NOT NULL")).scalars().all()
        return {normal(sql) for sql in rows if "alembic_version" not in sql and "sqlite_sequence" not in sql}
    schema = "made" if "options" in engine.url.query else "public"
    dump = subprocess.run(
        [server_programs() / "pg_dump", "--schema-only", "--no-owner", f"--schema={schema}",
         "--exclude-table=*.alembic_version", f"--host={engine.url.query['host']}",
         f"--username={engine.url.username}", engine.url.database],
        check=True, capture_output=True, text=True).stdout
    statements = re.sub(r"^(--|SET|SELECT|\\|CREATE SCHEMA|COMMENT).*$", "", dump, flags=re.M).split(";")
    return {normal(statement.replace(f"{schema}.", "")) for statement in statements if statement.strip()}


def normal(sql: str) -> str:
    sql = " ".join(sql.replace('"', "").split())
    if not sql.startswith("CREATE TABLE"):
        return sql
    head, _, rest = sql.partition("(")
    inside, _, tail = rest.rpartition(")")
    parts = re.split(r",\s*(?![^()]*\))", inside)
    return f"{head}({', '.join(sorted(part.strip() for part in parts))}){tail}"


def test_many_may_open_a_new_database_at_once(empty_database_url, tmp_path):
    opened, troubles = [], []

    def run():
        try:
            opened.append(open_records(empty_database_url, tmp_path))
        except BaseException as error:  # a thread's error must reach the test
            troubles.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for records in opened:
        records.close()
    assert not troubles and len(opened) == 4


def test_fingerprints_keep_their_bodies_when_those_move_to_a_table_of_their_own(empty_database_url, tmp_path):
    database = Database(open_engine(empty_database_url, tmp_path), time.time)
    with database.write() as connection:
        migrate(connection, "0010")
        for number, body in ((1, b"\x00print"), (2, None)):
            connection.execute(text("INSERT INTO fingerprints (id, files, version, problem, body, about, at) "
                                    "VALUES (:id, :files, 3, :problem, :body, '{}', 1.5)"),
                               {"id": number, "files": str(number), "body": body, "problem": None if body else "why"})
    upgrade(database)
    lineage = SqlLineage(database)
    assert lineage.bodies([1, 2]) == {1: b"\x00print"} and lineage.stamps() == {1: 1.5}
    assert {n: kept.problem for n, kept in lineage.get([1, 2]).items()} == {1: None, 2: "why"}
    database.engine.dispose()
