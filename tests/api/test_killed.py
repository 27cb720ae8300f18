"""F1: the hub is killed (SIGKILL) at random moments of uploads, commits, moves, squashes, deletions and sweeps.

A whole hub each time, on one data folder that lives through all of it. After each kill it is started again, and what
clients were told is there must be there, whole; what they were not told of is there wholly or not at all. Imports are
killed in tests/hub/test_imports.py, pushes through the Xet door in tests/api/test_xet_killed.py.

HEADWATER_KILLS: how often (40 unless told; `make soak` says 1,000).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from server import HubProcess, opened_hub
from wire import Wire, file, header, lfs_file, line

from headwater.hub.sweep import scrub

KILLS = int(os.environ.get("HEADWATER_KILLS", "40"))
FLAGS = {"trace_uploads": 1, "sweep_every_s": 0, "sweep_grace_s": 0, "upload_seconds": 2, "part_bytes": 20_000}
Files = dict[str, bytes]


class World:
    """What clients were told: `told` maps each repo to its files at main. `maybe` is what the request under way when
    the hub died would make of a repo: None for a deletion, else (its name then, its files)."""

    def __init__(self, seed: int):
        self.dice = random.Random(seed)
        self.told: dict[str, Files] = {}
        self.maybe: dict[str, tuple[str, Files] | None] = {}
        self.made = 0

    def work(self, wire: Wire) -> None:
        """One request after another until the hub is gone."""
        while True:
            verbs = [self.push, self.push, self.push, self.large, self.sweep, self.sweep]
            if self.told:
                verbs += [self.move, self.squash, self.delete] if self.dice.random() < 0.5 else []
            if len(self.told) < 3:
                verbs = [self.create]
            self.dice.choice(verbs)(wire)

    def create(self, wire: Wire) -> None:
        self.made += 1
        name = f"local/r{self.made}"
        self.maybe = {name: (name, {})}
        wire.repo(name)
        self.settled(name, name, {})

    def settled(self, old: str, new: str, files: Files) -> None:
        """The hub answered."""
        self.told.pop(old, None)
        self.told[new] = files
        self.maybe = {}

    def pick(self) -> str:
        return self.dice.choice(sorted(self.told))

    def push(self, wire: Wire) -> None:
        """A commit of regular and LFS files and deletions, on the parent that was told."""
        name, data = self.pick(), {}
        files = dict(self.told[name])
        changes = []
        for n in range(self.dice.randint(1, 4)):
            path, body = f"d{n % 2}/f{self.dice.randrange(6)}", self.dice.randbytes(self.dice.choice([5, 500, 30_000]))
            if self.dice.random() < 0.5:
                data[path] = body
            changes = [c for c in changes if c["value"].get("path") != path]
            changes.append(lfs_file(path, body, size=len(body)) if path in data else file(path, body))
            files[path] = body
        if len(self.told[name]) > 6:
            gone = self.dice.choice(sorted(self.told[name]))
            if gone not in [c["value"].get("path") for c in changes]:
                changes.append(line("deletedFile", path=gone))
                del files[gone]
        for body in data.values():
            wire.send(name, body)
        self.maybe = {name: (name, files)}
        answer = wire.post_commit(name, header(f"push {self.made}"), *changes)
        # Leases live 2 s here: on a slow machine the sweep may rightly take what was uploaded before this commit.
        assert answer.status_code in (200, 404), answer.text
        self.settled(name, name, files if answer.status_code == 200 else self.told[name])

    def large(self, wire: Wire) -> None:
        """A file in parts, then its commit."""
        name, body = self.pick(), self.dice.randbytes(50_000)
        digest = hashlib.sha256(body).hexdigest()
        found = wire.batch(name, (digest, len(body)), transfers=("basic", "multipart")).json()["objects"][0]
        upload = found["actions"]["upload"]
        parts = [{"partNumber": n, "etag": wire.http.put(upload["header"][str(n)],
                                                         content=body[(n - 1) * 20_000:n * 20_000]).headers["etag"]}
                 for n in (3, 1, 2)]
        done = wire.http.post(upload["href"], json={"oid": digest, "parts": parts})
        assert done.status_code in (200, 400, 403), done.text  # 400: the sweep took parts older than the 2 s of a lease
        files = {**self.told[name], "large": body}
        self.maybe = {name: (name, files)}
        answer = wire.post_commit(name, header(), lfs_file("large", body))
        assert answer.status_code in (200, 404), answer.text
        self.settled(name, name, files if answer.status_code == 200 else self.told[name])

    def move(self, wire: Wire) -> None:
        self.made += 1
        old, new = self.pick(), f"local/r{self.made}"
        self.maybe = {old: (new, self.told[old])}
        assert wire.http.post("/api/repos/move", json={"fromRepo": old, "toRepo": new}).status_code == 200
        self.settled(old, new, self.told[old])

    def squash(self, wire: Wire) -> None:
        name = self.pick()
        assert wire.http.post(f"/api/models/{name}/super-squash/main", json={}).status_code == 200

    def delete(self, wire: Wire) -> None:
        name = self.pick()
        self.maybe = {name: None}
        assert wire.http.request("DELETE", "/api/repos/delete", json={"name": name}).status_code == 200
        del self.told[name]
        self.maybe = {}

    def sweep(self, wire: Wire) -> None:
        assert wire.http.post("/api/headwater/sweep", json={"grace_s": 0}).status_code == 202

    def check(self, wire: Wire) -> None:
        """After the restart: everything told is there; the request under way happened wholly or not at all."""
        for name, files in list(self.told.items()):
            if name not in self.maybe:
                assert content(wire, name) == files, name
        for name, then in self.maybe.items():
            before = (name, self.told[name]) if name in self.told else None
            found = content(wire, name)
            now = None if found is None else (wire.http.get(f"/api/models/{name}").json()["id"], found)
            assert now in (before, then), (name, now and now[0])
            self.told.pop(name, None)
            if now is not None:
                self.told[now[0]] = now[1]
        self.maybe = {}
        there = {repo["id"] for repo in wire.http.get("/api/models?limit=1000").json()}
        assert there == set(self.told)


def content(wire: Wire, name: str) -> Files | None:
    """The files at main, read back and hashed; None if there is no such repo. Every older revision must list too."""
    answer = wire.http.get(f"/api/models/{name}/tree/main?recursive=true")
    if answer.status_code == 404:
        return None
    found = {}
    for entry in answer.json():
        if entry["type"] == "file":
            found[entry["path"]] = body = wire.read(name, entry["path"]).content
            assert len(body) == entry["size"]
            oid = hashlib.sha256(body).hexdigest() if "lfs" in entry else hashlib.sha1(
                b"blob %d\0" % len(body) + body).hexdigest()
            assert oid == (entry["lfs"]["oid"] if "lfs" in entry else entry["oid"])
    for commit in wire.http.get(f"/api/models/{name}/commits/main").json()[:3]:
        assert wire.http.get(f"/api/models/{name}/tree/{commit['id']}?recursive=true").status_code == 200
    return found


def nothing_is_half(data: Path) -> None:
    """With no hub running: the database holds together, every blob is what its name says, every digest has its blob."""
    with contextlib.closing(sqlite3.connect(data / "headwater.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    for blob in data.glob("blobs/??/??/*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    with opened_hub(data) as hub:
        assert scrub(hub) == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubProcess]:
    made = HubProcess(tmp_path / "data", **FLAGS)
    yield made
    if made.process:
        made.kill()


@pytest.mark.slow
@pytest.mark.timeout(120 + 6 * KILLS)
def test_f01_killed_at_any_moment_the_hub_shows_nothing_half_and_loses_nothing_it_told(server: HubProcess) -> None:
    world, dice = World(1), random.Random(2)
    for round_number in range(KILLS):
        with Wire(server.start().url) as wire:
            world.check(wire)
            killer = threading.Timer(dice.choice([0.02, 0.1, 0.3]) * dice.random(), server.kill)
            killer.start()
            with contextlib.suppress(httpx.TransportError):
                world.work(wire)
            killer.join()
        if round_number % 10 == 9:
            nothing_is_half(server.data)
    with Wire(server.start().url) as wire:
        world.check(wire)
        assert "Traceback" not in server.log.read_text(), server.log.read_text()[-3000:]
