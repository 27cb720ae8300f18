"""F10: a migration with live data keeps it, and a backup restored elsewhere equals the original."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from headwater.core.errors import BadInput, Busy, Conflict, CorruptFile, Unavailable
from headwater.core.settings import load
from headwater.core.types import Access, Kind
from headwater.core.work import Cancelled, Progress
from headwater.hub import Hub
from headwater.hub.accounts import create_org, create_user, issue_token, owner_actor, set_role, sign_in
from headwater.hub.backup import MARK, BackedUp, Restored, backup, check_whole, restore
from headwater.hub.browse import files, read, resolve
from headwater.hub.commit import Add, Delete, commit
from headwater.hub.repos import create, create_tag, move
from headwater.hub.sweep import sweep, sweeping
from headwater.jobs.local import LocalJobs
from headwater.storage import migrations, tables
from headwater.storage.blobs import open_blobs
from headwater.storage.database import Database, open_engine
from headwater.storage.dump import SqlArchive
from headwater.storage.records import open_records


class Place:
    """A data folder with its stores; opened as a hub only when asked."""

    def __init__(self, data: Path, url: str = ""):
        self.data, self.url = data, url
        self.database = Database(open_engine(url or None, data), time.time)
        self.archive = SqlArchive(self.database)
        self.blobs = open_blobs("", "", data)

    def open(self) -> Hub:
        records = open_records(self.url, self.data)
        (self.data / "tmp").mkdir(exist_ok=True)
        jobs = LocalJobs(records.database, tables.jobs, tables.pauses)
        jobs.register("sweep", lambda payload, progress: None)
        return Hub(load(self.data, environ={}), self.blobs, records.repos, records.history, records.holdings,
                   records.accounts, records.bus, jobs, self.data / "tmp", time.time)

    def back_up(self, target: Path) -> BackedUp:
        return backup(self.open(), self.archive, target)

    def restore(self, source: Path, progress: Progress | None = None) -> Restored:
        return restore(source, self.data, self.archive, self.blobs, progress)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(name: str, url: str = "") -> Place:
        made.append(Place(tmp_path / name, url))
        return made[-1]

    yield make
    for one in made:
        one.database.engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else ""


def fill(hub: Hub) -> None:
    """Some of everything a hub keeps."""
    me = owner_actor(hub)
    alice = create_user(hub, me, "alice", "correct horse", fullname="Alice \U0001f30a", is_admin=True)
    create_user(hub, me, "gone", "correct horse")
    hub.accounts.delete(hub.accounts.find("gone"), by=me)
    create_org(hub, me, "waterworks")
    set_role(hub, me, "waterworks", "alice", Access.WRITE)
    issue_token(hub, me, "laptop", scope=Access.READ, repos=("model/local/river",), seconds=3600)
    sign_in(hub, "alice", "correct horse")
    for kind, owner, name in ((Kind.MODEL, "local", "river"), (Kind.DATASET, "waterworks", "gauges"),
                              (Kind.MODEL, "alice", "empty")):
        repo = create(hub, me, kind, owner, name, private=name == "gauges")
        if name != "empty":
            commit(hub, me, repo, "main", [Add("README.md", b"---\ntags: [fr\xc3\xa9]\n---\n# hi"),
                                           Add("deep/er/weights.bin", bytes(range(256)) * 9000)], title="first")
            commit(hub, me, repo, "main", [Delete("README.md"), Add("notes.txt", name.encode())], title="second")
            create_tag(hub, me, repo, "v1", "main", "a tag")
        hub.repos.like(repo, True, by=me)
    move(hub, me, hub.repos.find(Kind.MODEL, "local", "river"), "waterworks", "stream")
    hub.jobs.enqueue("sweep", {"grace_s": 5}, title="Sweep", by=alice.name)
    hub.accounts.secret("sign upload")


def records(archive: SqlArchive) -> dict[str, object]:
    """The dump by table, rows in an order that does not depend on the database."""
    found: dict[str, list[object]] = {}
    name = ""
    for line in archive.dump():
        value = json.loads(line)
        if isinstance(value, dict):
            name = value.get("table", "")
            if "counter" in value:
                found["counter " + value["counter"]] = value["last"]
        else:
            found.setdefault(name, []).append(value)
    return {key: sorted(map(json.dumps, rows)) if isinstance(rows, list) else rows for key, rows in found.items()}


def contents(hub: Hub) -> dict[str, bytes]:
    """Every file of every repo at main."""
    found = {}
    for kind, owner, name in ((Kind.MODEL, "waterworks", "stream"), (Kind.DATASET, "waterworks", "gauges")):
        repo = hub.repos.find(kind, owner, name)
        for entry in files(hub, resolve(hub, repo, "main")):
            found[f"{repo.key}/{entry.path}"] = b"".join(read(hub, entry))
    return found


@pytest.mark.parametrize("target", ["folder", "file.tar"])
def test_f10_a_backup_restored_on_the_same_database_equals_the_original(
        tmp_path: Path, place: Callable[..., Place], url: str, target: str) -> None:
    old = place("old", url)
    hub = old.open()
    fill(hub)
    before, said = records(old.archive), contents(hub)
    done = old.back_up(tmp_path / target)
    assert done.blobs == done.copied == 4 and not done.lost
    if url:  # the database server is the same one, emptied
        wipe(old.database)
    new = place("new", url)
    restored = new.restore(tmp_path / target)
    assert (restored.blobs, restored.bytes) == (done.blobs, done.bytes)
    assert records(new.archive) == before
    assert contents(new.open()) == said


def test_f10_a_backup_moves_a_hub_between_sqlite_and_postgresql_and_back(
        tmp_path: Path, place: Callable[..., Place], postgres_url: str) -> None:
    lite, big, again = place("lite"), place("big", postgres_url), place("again")
    hub = lite.open()
    fill(hub)
    before, said = records(lite.archive), contents(hub)
    lite.back_up(tmp_path / "one")
    big.restore(tmp_path / "one")
    assert records(big.archive) == before
    assert contents(big.open()) == said
    create_user(big.open(), owner_actor(big.open()), "bob", None)  # ids go on after the highest ever given
    big.back_up(tmp_path / "two.tar")
    again.restore(tmp_path / "two.tar")
    assert records(again.archive) == records(big.archive)


def wipe(database: Database) -> None:
    with database.write() as connection:
        for table in [*reversed(tables.metadata.sorted_tables), "alembic_version"]:
            connection.execute(text(f"DROP TABLE {table}"))


def test_a_running_job_waits_again_after_a_restore(tmp_path: Path, place: Callable[..., Place]) -> None:
    old, new = place("old"), place("new")
    hub = old.open()
    job = hub.jobs.enqueue("sweep", {}, title="Sweep", by="local")
    with old.database.write() as connection:
        connection.execute(text("UPDATE jobs SET state = 'running', owner = 'somebody', started_at = 1"))
    old.back_up(tmp_path / "kept")
    new.restore(tmp_path / "kept")
    assert new.open().jobs.get(job.id).state == "queued"


def test_a_second_backup_into_the_same_folder_copies_only_what_is_new(
        tmp_path: Path, place: Callable[..., Place]) -> None:
    old, new = place("old"), place("new")
    hub = old.open()
    fill(hub)
    old.back_up(tmp_path / "kept")
    me = owner_actor(hub)
    river = hub.repos.find(Kind.MODEL, "waterworks", "stream")
    commit(hub, me, river, "main", [Add("more.txt", b"more")], title="more")
    hub.repos.delete(hub.repos.find(Kind.DATASET, "waterworks", "gauges"), by=me)
    hub.accounts.update(hub.accounts.find("alice"), fullname="A", by=me)
    assert sweep(hub, grace_s=-1).blobs == 1
    done = old.back_up(tmp_path / "kept")
    assert (done.blobs, done.copied) == (4, 1)
    assert len(list((tmp_path / "kept/blobs").glob("*/*/*"))) == 4, "what no record names any more is gone"
    assert len(list((tmp_path / "kept").glob("records-*"))) == 1
    new.restore(tmp_path / "kept")
    assert records(new.archive) == records(old.archive)


def test_a_backup_is_whole_while_uploads_and_commits_go_on(tmp_path: Path, place: Callable[..., Place]) -> None:
    old, new = place("old"), place("new")
    hub = old.open()
    me = owner_actor(hub)
    repo = create(hub, me, Kind.MODEL, "local", "busy")
    stop, made = threading.Event(), []

    def keep_pushing() -> None:
        while not stop.is_set():
            body = f"{len(made)}".encode() * 5000
            made.append(commit(hub, me, repo, "main", [Add(f"{len(made)}.txt", body)], title="go on"))

    pusher = threading.Thread(target=keep_pushing)
    pusher.start()
    try:
        for _ in range(3):
            count = len(made)
            done = old.back_up(tmp_path / "kept")
            assert not done.lost
            while len(made) < count + 5:
                time.sleep(0.01)
    finally:
        stop.set()
        pusher.join()
    new.restore(tmp_path / "kept")
    copy = new.open()
    there = copy.repos.find(Kind.MODEL, "local", "busy")
    head = resolve(copy, there, "main")
    assert head.oid in {c.oid for c in made}
    for entry in files(copy, head):
        assert b"".join(read(copy, entry)) == entry.path.removesuffix(".txt").encode() * 5000


def test_the_sweep_waits_while_a_backup_runs(tmp_path: Path, place: Callable[..., Place]) -> None:
    old = place("old")
    hub = old.open()
    with sweeping(hub), pytest.raises(Busy):
        old.back_up(tmp_path / "kept")


@pytest.mark.parametrize("target", ["folder", "file.tar"])
def test_damaged_and_missing_bytes_are_named_and_the_rest_is_kept(
        tmp_path: Path, place: Callable[..., Place], target: str) -> None:
    old, new = place("old"), place("new")
    hub = old.open()
    fill(hub)
    first, second, *others = sorted(d for d, _ in hub.holdings.all())
    for digest, body in ((first, b"rot"), (second, None)):
        path = hub.blobs.path(digest)
        path.unlink()
        if body:
            path.write_bytes(body)
    done = old.back_up(tmp_path / target)
    assert set(done.lost) == {first, second}
    assert set(new.restore(tmp_path / target).lost) == {first, second}
    assert [d for d, _ in new.open().holdings.all()] == others


def test_an_interrupted_restore_goes_on_and_until_then_no_hub_opens_the_folder(
        tmp_path: Path, place: Callable[..., Place]) -> None:
    old, new, other = place("old"), place("new"), place("other")
    fill(old.open())
    before = records(old.archive)
    old.back_up(tmp_path / "kept")
    create_user(old.open(), owner_actor(old.open()), "later", None)
    old.back_up(tmp_path / "later")

    def give_up(done: int, total: int | None = None, **more: object) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        new.restore(tmp_path / "kept", give_up)
    with pytest.raises(Unavailable, match="was not finished"):
        check_whole(new.data)
    with pytest.raises(Conflict, match="Another backup is half restored"):
        new.restore(tmp_path / "later")
    new.restore(tmp_path / "kept")
    check_whole(new.data)
    assert records(new.archive) == before

    # ... and when the process died between the last two steps: records are there, the mark still stands
    (new.data / MARK).write_text(next((tmp_path / "kept").glob("records-*")).name)
    new.restore(tmp_path / "kept")
    assert records(new.archive) == before
    assert other.archive.is_empty()


def test_a_backup_that_breaks_off_leaves_the_one_before_it_good(tmp_path: Path, place: Callable[..., Place]) -> None:
    old, new = place("old"), place("new")
    hub = old.open()
    fill(hub)
    before = records(old.archive)
    old.back_up(tmp_path / "kept")
    me = owner_actor(hub)
    commit(hub, me, hub.repos.find(Kind.MODEL, "waterworks", "stream"), "main",
           [Add(f"{n}.txt", f"{n}".encode()) for n in range(5)], title="more")

    def give_up(done: int, total: int | None = None, **more: object) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        backup(hub, old.archive, tmp_path / "kept", give_up)
    new.restore(tmp_path / "kept")
    assert records(new.archive) == before
    with pytest.raises(Cancelled):
        backup(hub, old.archive, tmp_path / "other.tar", give_up)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("other.tar")]
    assert old.back_up(tmp_path / "kept").copied == 3, "what the broken one copied is not copied again"


def test_a_backup_restores_into_an_object_store(tmp_path: Path, place: Callable[..., Place]) -> None:
    old, new = place("old"), place("new")
    hub = old.open()
    fill(hub)
    said = contents(hub)
    old.back_up(tmp_path / "kept.tar")
    new.blobs = open_blobs("memory://", "", new.data)
    new.restore(tmp_path / "kept.tar")
    assert contents(new.open()) == said


def test_a_hub_that_is_not_empty_is_not_restored_over(tmp_path: Path, place: Callable[..., Place], url: str) -> None:
    old, new = place("old"), place("new", url)
    old.open()
    old.back_up(tmp_path / "kept")
    new.open()
    with pytest.raises(Conflict, match="into an empty hub only"):
        new.restore(tmp_path / "kept")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40_000])


def _swap(path: Path) -> None:
    blob = max(path.rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    blob.write_bytes(b"x" * blob.stat().st_size)


@pytest.mark.parametrize(("target", "harm", "says"), [
    ("file.tar", _cut, "not a whole tar|cut short"),
    ("file.tar", lambda p: p.write_bytes(b"no tar"), "not a whole tar"),
    ("folder", _swap, "hashes to"),
    ("folder", lambda p: shutil.rmtree(p / "blobs"), "lacks blobs/"),
    ("folder", lambda p: next(p.glob("records-*")).write_bytes(b"x"), "do not hash"),
    ("folder", lambda p: (p / "manifest.json").write_text("{"), "not JSON"),
    ("folder", lambda p: (p / "manifest.json").write_text('{"format": 2}'), "does not know"),
])
def test_a_broken_backup_is_refused_and_leaves_no_hub(
        tmp_path: Path, place: Callable[..., Place], target: str, harm: Callable[[Path], None], says: str) -> None:
    old, new = place("old"), place("new")
    fill(old.open())
    old.back_up(tmp_path / target)
    harm(tmp_path / target)
    with pytest.raises(CorruptFile, match=says):
        new.restore(tmp_path / target)
    assert new.archive.is_empty()


def test_a_dump_cut_short_or_of_a_newer_headwater_is_refused(place: Callable[..., Place]) -> None:
    old, new = place("old"), place("new")
    fill(old.open())
    lines = list(old.archive.dump())
    with pytest.raises(CorruptFile, match="cut short"):
        new.archive.load(lines[:-1])
    with pytest.raises(CorruptFile, match="cut short"):
        new.archive.load(lines[:9] + lines[10:])
    with pytest.raises(CorruptFile, match="do not fit"):
        new.archive.load([lines[0], b'{"table":"nonsense","columns":["a"]}', b"[1]", lines[-1]])
    with pytest.raises(Unavailable, match="newer Headwater"):
        new.archive.load([b'{"headwater":1,"schema":"99999"}', *lines[1:]])
    assert new.archive.is_empty()
    new.archive.load(lines)


def test_a_backup_goes_nowhere_it_could_harm(tmp_path: Path, place: Callable[..., Place]) -> None:
    old = place("old")
    old.open()
    with pytest.raises(BadInput, match="inside the data folder"):
        old.back_up(old.data / "kept")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"cat")
    with pytest.raises(Conflict, match=r"cat\.jpg"):
        old.back_up(tmp_path / "photos")
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(Conflict, match="there already"):
        old.back_up(tmp_path / "a.tar")
    with pytest.raises(BadInput, match="no backup"):
        place("new").restore(tmp_path / "nowhere")


NEXT = '''"""A next schema, for this test alone."""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "NEXT", "NEWEST"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("motto", sa.Text(), nullable=False, server_default="flow"))
    op.execute("UPDATE accounts SET motto = name")
'''


@pytest.fixture
def next_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, the package has one migration more."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrations.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions/v9999_next.py").write_text(NEXT.replace("NEWEST", migrations.HEAD).replace("NEXT", "9999"))

    def begin() -> None:
        monkeypatch.setattr(migrations, "FOLDER", folder)
        monkeypatch.setattr(migrations, "HEAD", "9999")

    return begin


def test_f10_a_migration_keeps_live_data(place: Callable[..., Place], url: str,
                                         next_schema: Callable[[], None]) -> None:
    old = place("old", url)
    hub = old.open()
    fill(hub)
    before, said = records(old.archive), contents(hub)
    next_schema()
    hub = old.open()
    assert records(old.archive) == before and contents(hub) == said
    with old.database.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
        assert connection.scalar(text("SELECT motto FROM accounts WHERE name = 'alice'")) == "alice"


def test_f10_a_backup_of_an_older_schema_is_brought_up_to_date(
        tmp_path: Path, place: Callable[..., Place], url: str, next_schema: Callable[[], None]) -> None:
    old, new = place("old"), place("new", url)
    fill(old.open())
    before = records(old.archive)
    old.back_up(tmp_path / "kept")
    next_schema()
    new.restore(tmp_path / "kept")
    assert records(new.archive) == before
    with new.database.read() as connection:
        assert connection.scalar(text("SELECT motto FROM accounts WHERE name = 'alice'")) == "alice"
