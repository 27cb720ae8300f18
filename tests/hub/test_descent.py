"""A fine-tune is kept as the difference to its parent, nobody who reads it notices, and nothing that dies on the way
takes bytes along."""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
from record_samples import Clock
from server import fresh

from headwater.app import App, open_app
from headwater.core.errors import Damaged, DiskFull
from headwater.core.settings import load
from headwater.core.types import Kind, Repo
from headwater.hub import browse, repos
from headwater.hub.accounts import local_owner, owner_actor
from headwater.hub.backup import backup
from headwater.hub.commit import Add, commit
from headwater.hub.descent import descent_job, make_all_whole
from headwater.hub.doctor import examine_hub
from headwater.hub.intake import keep, stage
from headwater.hub.snapshot import lay_out
from headwater.hub.sweep import scrub, sweep

ROWS, WIDTH = 900, 700  # 1.3 MB of bfloat16: two blocks
STEPS = ("adopt packed", "read back", "row ready", "bytes gone")


def model(seed: int, *, tuned: int = 0, rows: int = ROWS, name: str = "w") -> bytes:
    """A safetensors file of one matrix of bfloat16. tuned: a fine-tune by so many steps of the last bit here and
    there, with a matrix of its own beside."""
    rng = np.random.default_rng(seed)
    bits = (rng.standard_normal((rows, WIDTH)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if tuned:
        rng = np.random.default_rng(tuned)
        bits = bits + (rng.random(bits.shape) < 0.1).astype(np.uint16) - (rng.random(bits.shape) < 0.1)
    own = os.urandom(33) if tuned else b""
    header = {name: {"dtype": "BF16", "shape": [rows, WIDTH], "data_offsets": [0, bits.size * 2]}}
    if own:
        header["own"] = {"dtype": "U8", "shape": [33], "data_offsets": [bits.size * 2, bits.size * 2 + 33]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bits.astype(np.uint16).tobytes() + own


class Place:
    """A hub whose lineage is what the test says."""

    def __init__(self, data: Path, clock: Clock):
        self.data, self.clock = data, clock
        self.parents: dict[int, list[Repo]] = {}
        self.open()

    def open(self) -> None:
        self.app: App = open_app(load(self.data, {}, environ={}), self.clock)
        self.hub = self.app.hub
        local_owner(self.hub)

    def reopen(self) -> None:
        self.app.records.close()
        self.open()

    def push(self, data: bytes, parent: Repo | None = None, path: str = "model.safetensors") -> Repo:
        actor = owner_actor(self.hub)
        repo = repos.create(self.hub, actor, Kind.MODEL, actor.name, fresh())
        staged = stage(self.hub, [data], limit=len(data))
        keep(self.hub, repo, staged)
        commit(self.hub, actor, repo, "main", [Add(path, digest=staged.digest)], title="t")
        if parent:
            self.parents[repo.id] = [parent]
        return self.hub.repos.get(repo.id)

    def run(self) -> dict:
        def parents(repo, revision):
            return [(self.hub.repos.get(p.id), p.head) for p in self.parents.get(repo.id, [])]

        return descent_job(self.hub, parents)({}, lambda *_, **__: None)

    def digest(self, repo: Repo) -> str:
        return browse.files(self.hub, browse.resolve(self.hub, repo, "main"))[0].digest

    def read(self, repo: Repo, *span) -> bytes:
        return b"".join(self.hub.blobs.read(self.digest(repo), *span))

    def whole(self, repo: Repo) -> bool:
        return (self.data / "blobs" / self.digest(repo)[:2] / self.digest(repo)[2:4] / self.digest(repo)).exists()

    def on_disk(self) -> int:
        return sum(p.stat().st_size for p in (self.data / "blobs").rglob("*") if p.is_file())


@pytest.fixture
def place(tmp_path, clock):
    place = Place(tmp_path / "data", clock)
    yield place
    place.app.records.close()


@pytest.fixture
def pair(place):
    """(parent, child, bytes of the child), not yet kept as a difference."""
    child = model(1, tuned=2)
    parent = place.push(model(1))
    return parent, place.push(child, parent), child


def test_a_fine_tune_takes_a_part_of_its_size_and_reads_as_before(place, pair):
    _, child, data = pair
    before, digest = place.on_disk(), place.digest(child)
    assert place.run() == {"kept": 1, "no parent": 1}
    assert not place.whole(child) and place.on_disk() < before - len(data) * 0.6
    assert place.read(child) == data and place.hub.blobs.size(digest) == len(data)
    assert place.hub.blobs.path(digest) is None and set(place.hub.blobs.digests()) >= {digest}
    for start, stop in ((0, 9), (len(data) - 40, None), ((1 << 20) - 3, (1 << 20) + 3), (5, 5), (len(data), None)):
        assert place.read(child, start, stop) == data[start:stop]
    assert max(map(len, place.hub.blobs.read(digest))) <= 1 << 20
    assert scrub(place.hub) == [] and place.run() == {"no parent": 1}
    assert any("1 files of" in check.says and "as differences" in check.says for check in examine_hub(place.hub))
    folder = Path(lay_out(place.hub, child, browse.resolve(place.hub, child, "main")).folder)
    assert (folder / "model.safetensors").read_bytes() == data, "engines are handed a copy"


def test_what_saves_too_little_stays_whole_and_is_not_tried_again(place):
    parent = place.push(model(1))
    stranger = place.push(model(99), parent)
    assert place.run() == {"passed over": 1, "no parent": 1}
    assert place.whole(stranger) and place.run() == {"no parent": 1}
    place.app.settings._values["descent_percent"] = 0
    assert place.run() == {"state": "switched off"}


def test_a_difference_is_one_deep_a_grandchild_is_one_to_the_grandparent(place, pair):
    parent, child, data = pair
    place.run()
    more = model(1, tuned=2)[:-33] + b"x" * 33
    grandchild = place.push(more, child)
    assert place.run() == {"kept": 1, "no parent": 1}
    rows = place.hub.differences.of([place.digest(child), place.digest(grandchild)])
    assert {row.base for row in rows.values()} == {place.digest(parent)}
    assert place.read(grandchild) == more and place.read(child) == data
    place.parents[parent.id] = [grandchild]
    assert place.run() == {"in use": 1} and place.whole(parent), "others are the difference to it"


def test_a_model_with_other_names_for_its_tensors_is_told_by_their_places(place):
    parent = place.push(model(1))
    child = place.push(data := model(1, tuned=2, name="transformer.h.0.w"), parent, "renamed.safetensors")
    assert place.run() == {"kept": 1, "no parent": 1} and place.read(child) == data


def test_what_an_engine_has_laid_out_stays_whole(place, pair):
    _, child, _ = pair
    lay_out(place.hub, child, browse.resolve(place.hub, child, "main"))
    assert place.run() == {"in use": 1, "no parent": 1} and place.whole(child)


def test_when_the_parent_goes_the_child_is_made_whole_before_the_bytes_under_it_are_swept(place, pair):
    parent, child, data = pair
    place.run()
    base = place.digest(parent)
    place.hub.repos.delete(parent, by=owner_actor(place.hub))
    place.clock.at += place.hub.settings.upload_seconds + 1
    assert sweep(place.hub, grace_s=0).blobs == 1
    assert place.hub.blobs.size(base) is None and place.whole(child) and place.read(child) == data
    assert place.on_disk() == len(data), "the difference is gone too"


def test_while_a_child_cannot_be_made_whole_its_parent_stays(place, pair, monkeypatch):
    parent, child, data = pair
    place.run()
    place.hub.repos.delete(parent, by=owner_actor(place.hub))
    place.clock.at += place.hub.settings.upload_seconds + 1
    monkeypatch.setattr("headwater.hub.descent.SPARE_BYTES", 1 << 60)
    assert sweep(place.hub, grace_s=0).blobs == 0 and place.read(child) == data


def test_when_child_and_parent_go_all_bytes_go(place, pair):
    place.run()
    for repo in pair[:2]:
        place.hub.repos.delete(repo, by=owner_actor(place.hub))
    place.clock.at += place.hub.settings.upload_seconds + 1
    assert sweep(place.hub, grace_s=0).blobs == 2 and place.on_disk() == 0


def test_everything_can_be_made_whole_again(place, pair):
    _, child, data = pair
    place.run()
    assert make_all_whole(place.hub, lambda *_, **__: None) == 1
    assert place.whole(child) and place.read(child) == data and place.app.records.deltas.all() == []


def test_a_backup_holds_every_file_whole_and_no_word_of_differences(place, pair, tmp_path):
    from headwater.app import restore_into

    _, child, data = pair
    place.run()
    assert backup(place.hub, place.app.archive, tmp_path / "backup").lost == ()
    restore_into(load(tmp_path / "new", {}, environ={}), tmp_path / "backup")
    other = Place(tmp_path / "new", place.clock)
    assert other.whole(child) and other.read(child) == data and other.app.records.deltas.all() == []
    other.app.records.close()


def stop_at(place: Place, step: str, act) -> None:
    """`act` is called where the work has come to `step`."""
    blobs, deltas = place.hub.blobs, place.app.records.deltas
    owner, verb = {"adopt packed": (blobs._below, "adopt"), "read back": (blobs, "_holds"),
                   "row ready": (deltas, "turn"), "bytes gone": (blobs._below, "delete")}[step]
    real = getattr(owner, verb)

    def then(*args):
        result = real(*args)
        act()
        return result

    setattr(owner, verb, then)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_bytes_are_there_and_the_next_run_ends_it(place, pair, step):
    _, child, data = pair
    place.app.records.close()
    pid = os.fork()
    signal.alarm(0 if pid else 60)
    if pid == 0:  # as good as kill -9: no handler, no finally, no flush
        try:
            place.open()
            stop_at(place, step, lambda: os._exit(9))
            place.run()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    place.open()
    assert place.read(child) == data
    place.run()
    assert not place.whole(child) and place.read(child) == data and scrub(place.hub) == []
    [row] = place.app.records.deltas.all()
    assert place.on_disk() == len(model(1)) + row.size, "nothing is left over"


@pytest.mark.parametrize("step", ("adopt", "turn", "delete", "forget"))
def test_killed_on_the_way_back_the_bytes_are_there(place, pair, step):
    _, child, data = pair
    place.run()
    place.app.records.close()
    pid = os.fork()
    signal.alarm(0 if pid else 60)
    if pid == 0:
        try:
            place.open()
            owner = place.app.records.deltas if step in ("turn", "forget") else place.hub.blobs._below
            real = getattr(owner, step)
            setattr(owner, step, lambda *args: (real(*args), os._exit(9)))
            make_all_whole(place.hub, lambda *_, **__: None)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    place.open()
    assert place.read(child) == data
    place.run()
    assert place.read(child) == data
    rows = place.app.records.deltas.all()
    whole = len(model(1)) + (len(data) if place.whole(child) else 0)
    assert place.on_disk() == whole + sum(row.size for row in rows), "nothing is left over"


def test_a_full_disk_leaves_the_bytes_whole(place, pair, monkeypatch):
    _, child, data = pair
    monkeypatch.setattr("headwater.hub.descent.SPARE_BYTES", 1 << 60)
    with pytest.raises(DiskFull):
        place.run()
    monkeypatch.undo()
    real = os.replace

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DiskFull):
        place.run()
    monkeypatch.setattr(os, "replace", real)
    assert place.whole(child) and place.read(child) == data and not list(place.hub.tmp.glob("in-*"))
    assert place.run() == {"kept": 1, "no parent": 1} and place.read(child) == data


def flip(path: Path) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)


def blob(place: Place, digest: str) -> Path:
    return place.data / "blobs" / digest[:2] / digest[2:4] / digest


def test_a_base_that_rotted_never_hands_out_wrong_bytes_and_heals_its_children_when_it_comes_again(place, pair):
    parent, child, data = pair
    place.run()
    flip(blob(place, place.digest(parent)))
    with pytest.raises(Damaged):
        place.read(child)
    assert {d.digest for d in scrub(place.hub)} == {place.digest(parent), place.digest(child)}
    place.push(model(1))
    place.run()
    assert place.read(child) == data and place.read(parent) == model(1) and scrub(place.hub) == []
    assert place.hub.holdings.lost([place.digest(child)]) == set(), "it counts as kept again"


def test_a_difference_that_rotted_is_named_and_heals_when_the_file_comes_again(place, pair):
    parent, child, data = pair
    place.run()
    [row] = place.app.records.deltas.all()
    flip(blob(place, row.packed))
    place.reopen()
    assert {d.digest for d in scrub(place.hub)} == {place.digest(child)}
    place.push(data, parent)
    assert place.read(child) == data
    place.run()
    assert place.read(child) == data and scrub(place.hub) == []


def test_what_is_uploaded_again_is_read_whole_and_let_go_once_more(place, pair):
    parent, child, data = pair
    place.run()
    place.push(data, parent)
    assert place.whole(child)
    place.run()
    assert not place.whole(child) and place.read(child) == data


def test_a_reader_follows_bytes_that_change_their_form_under_it(place, pair):
    _, child, data = pair
    place.run()
    reading = place.hub.blobs.read(place.digest(child))
    got = next(reading)
    make_all_whole(place.hub, lambda *_, **__: None)
    place.app.records.deltas.forget(place.digest(child))
    assert got + b"".join(reading) == data
    reading = place.hub.blobs.read(place.digest(child))
    got = next(reading)
    place.run()
    assert got + b"".join(reading) == data


def test_a_second_process_waits_its_turn_and_trace_is_what_names_parents(place, pair):
    from headwater.app import _parents
    from headwater.core.descent import Edge
    from headwater.core.errors import Busy
    from headwater.hub.descent import working

    with working(place.hub), pytest.raises(Busy):
        place.run()
    parent, child, _ = pair
    records, kept = place.app.records.lineage, []
    for number, repo in enumerate((parent, child)):
        kept.append(records.keep(repo, repo.head, f"{number}" * 64, version=1, body=b"x", problem=None, about={}))
    assert [r for r, _ in _parents(place.hub, place.app.trace)(child, child.head)][:-1] == []
    records.judged([Edge(kept[1].id, kept[0].id, True, "descends", "a-from-b", 0.9, 1, {})], of=kept[1].id, version=1)
    found = _parents(place.hub, place.app.trace)(child, child.head)
    assert next((r.id, o) for r, o in found) == (parent.id, parent.head)
    other_way = _parents(place.hub, place.app.trace)(parent, parent.head)
    assert child.id not in [r.id for r, _ in other_way]
