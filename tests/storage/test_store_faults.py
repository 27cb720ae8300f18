"""The database stumbles, fills up, or its process is killed: what is told, and what is left."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from record_samples import Clock, World, digest, file
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from headwater.api.errors import _is_full
from headwater.core.errors import Busy, DiskFull, Unavailable
from headwater.core.types import Kind
from headwater.hub.git import make_tree
from headwater.storage import database
from headwater.storage.blobs.folder import FolderBlobs
from headwater.storage.records import open_records


@pytest.fixture
def impatient(tmp_path, monkeypatch):
    """SQLite records that wait a fifth of a second for other writers."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    world = World(open_records(None, tmp_path, Clock()), Clock())
    yield world
    world.records.close()


def test_f9_a_database_another_process_writes_to_is_busy_for_writers_and_open_to_readers(impatient, tmp_path):
    repo = impatient.repo()
    other = sqlite3.connect(tmp_path / "headwater.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy):
        impatient.push(repo, {"a": "1"})
    assert impatient.records.repos.get(repo.id) == repo
    other.execute("ROLLBACK")
    other.close()
    impatient.push(repo, {"a": "1"})


def test_a_writer_that_waits_too_long_for_one_in_its_own_process_is_told_busy(impatient):
    with impatient.records.database.write(), pytest.raises(Busy):
        impatient.repo()


def test_a_token_opens_although_its_use_cannot_be_noted(impatient, tmp_path):
    impatient.records.accounts.issue(impatient.ann, "t", "h", scope="read", repos=None, expires_at=None,
                                     by=impatient.me)
    other = sqlite3.connect(tmp_path / "headwater.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert impatient.records.accounts.token("h")
    other.close()


def test_a_fault_of_our_own_in_the_database_is_told_once_and_has_no_end_in_itself(impatient):
    with pytest.raises(OperationalError) as told, impatient.records.database.read() as connection:
        connection.execute(text("SELECT 1 FROM a_table_nobody_made"))
    causes = [told.value]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
        assert len(causes) < 10
    # Whoever asks what is behind an error ends even where somebody raised one from itself.
    told.value.__cause__ = told.value
    assert not _is_full(told.value)


def test_f2_a_full_disk_under_the_database_is_told_and_nothing_is_half_written(impatient):
    repo = impatient.repo()
    contents = [f"content {n}" for n in range(60)]
    impatient.keep(repo, *contents)
    before = impatient.records.repos.get(repo.id)

    def no_more_pages(connection):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    event.listen(impatient.records.engine, "begin", no_more_pages)
    tree = make_tree(file(f"f{n}", content) for n, content in enumerate(contents))
    with pytest.raises(DiskFull):
        impatient.commit(repo, tree, [tree])
    event.remove(impatient.records.engine, "begin", no_more_pages)
    assert impatient.records.repos.get(repo.id) == before and impatient.records.history.digests(repo) == {}
    with impatient.records.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000000")
    impatient.commit(repo, tree, [tree])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_f9_connections_cut_by_a_restart_of_postgresql_are_made_anew(world, postgres_cluster):
    import psycopg

    def cut():
        name = world.records.engine.url.database
        with psycopg.connect(postgres_cluster.format("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    repo = world.repo()
    cut()
    world.push(repo, {"a": "1"})  # between two verbs nobody notices
    with pytest.raises(Unavailable), world.records.database.write() as connection:
        connection.execute(text("UPDATE repos SET name = 'half'"))
        cut()
        connection.execute(text("SELECT 1"))
    assert world.records.repos.get(repo.id).name == "yi"


CHILD = """
import random, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from record_samples import World, digest, file
from headwater.core.errors import Conflict, EntryNotFound, RepoExists
from headwater.core.types import Access, Actor, Kind
from headwater.hub.git import make_tree
from headwater.storage.blobs.folder import FolderBlobs
from headwater.storage.records import open_records

data, dice = Path(sys.argv[1]), random.Random(int(sys.argv[3]))
world = object.__new__(World)
world.records, world.clock = open_records(None, data), time.time
world.ann = world.records.accounts.find("ann")
world.me = Actor(world.ann, Access.WRITE)
blobs = FolderBlobs(data / "blobs")

def upload(repo, content):
    world.records.holdings.grant(repo, digest(content), len(content), seconds=dice.choice([0.02, 5]))
    staged = data / "staged"
    staged.write_text(content)
    blobs.adopt(staged, digest(content))
    world.records.holdings.kept(digest(content))

print("ready", flush=True)
while True:
    name = dice.choice("abc")
    repo = world.records.repos.find(Kind.MODEL, "ann", name)
    try:
        if repo is None:
            repo = world.repo(name)
        match dice.randrange(8):
            case 0:
                world.records.repos.delete(repo, by=world.me)
            case 1:
                world.records.repos.move(repo, "ann", dice.choice("abc"), by=world.me)
            case 2 | 3:
                world.records.holdings.sweep(grace_s=0, limit=5, delete=blobs.delete)
            case _:
                files = {str(n): f"content {dice.randrange(12)}" for n in range(3)}
                for content in files.values():
                    upload(repo, content)
                tree = make_tree(file(n, c) for n, c in files.items())
                world.commit(repo, tree, [tree], parents=() if dice.random() < 0.3 else None)
    except (RepoExists, EntryNotFound, Conflict):
        pass
"""


@pytest.mark.slow
def test_f1_a_process_killed_at_any_moment_leaves_nothing_half_and_nothing_missing(tmp_path):
    World(open_records(None, tmp_path), time.time).records.close()
    dice = random.Random(1)
    for round_number in range(8):
        child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path, Path(__file__).parents[1], str(round_number)],
                                 stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0.01, 0.4))
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        nothing_is_half(tmp_path)


def nothing_is_half(data):
    records, blobs = open_records(None, data), FolderBlobs(data / "blobs")
    with records.engine.connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    for name, size in records.holdings.all():
        assert blobs.size(name) == size
    for name in blobs.digests():  # a rename shows a whole file or none
        assert digest(blobs.path(name).read_text()) == name
    for repo in filter(None, (records.repos.find(Kind.MODEL, "ann", name) for name in "abc")):
        [main] = records.history.refs(repo)
        named, log = set(), records.history.log(repo, main.commit, limit=1000)
        assert log[0].oid == main.commit == repo.head and log[-1].parents == ()
        trees = records.history.trees({commit.tree for commit in log})
        for commit in log:
            named |= {entry.digest for entry in trees[commit.tree].entries}
        assert records.history.digests(repo).keys() == named
    records.close()
