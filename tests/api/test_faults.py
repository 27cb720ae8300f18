"""Faults over the wire, by the numbers of docs/faults-and-attacks.md: full disks, lost answers, broken uploads."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from server import HubProcess, fresh, opened_hub
from wire import Wire, file, header, lfs_file, ndjson

from headwater.core.types import Access, Kind
from headwater.hub import repos
from headwater.hub.access import find_repo
from headwater.hub.accounts import owner_actor
from headwater.hub.commit import Add, commit


@pytest.fixture(scope="module")
def wire(open_server: HubProcess) -> Iterator[Wire]:
    with Wire(open_server.url) as opened:
        yield opened


# --- F2 a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root; tests/hub/test_intake.py limits the size of files instead")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_f02_a_full_disk_answers_507_shows_nothing_half_and_works_again_when_there_is_room(small_disk: Path) -> None:
    data = os.urandom(3_000_000)
    with HubProcess(small_disk / "data", sweep_every_s=0, part_bytes=1_000_000) as server, Wire(server.url) as wire:
        name = wire.repo("full")
        before = wire.commit(name, {"a": b"1", "config.json": b"{}"})
        parted = wire.batch(name, (hashlib.sha256(data).hexdigest(), len(data)), transfers=("multipart",)).json()
        part = parted["objects"][0]["actions"]["upload"]["header"]["1"]
        href = wire.link(name, data)
        token = wire.http.get(f"/api/models/{name}/xet-write-token/main").json()
        fill = small_disk / "fill"
        fill.write_bytes(bytes(space_left(small_disk) - 200_000))
        xorb = f"{token['casUrl']}/v1/xorbs/default/{'0' * 64}"
        asked = [httpx.put(href, content=data), httpx.put(part, content=data[:1_000_000]),
                 wire.post_commit(name, header(), file("b", data[:2_000_000])),
                 wire.http.post(xorb, content=data, headers={"authorization": f"Bearer {token['accessToken']}"})]
        assert [a.status_code for a in asked[:3]] == [507] * 3, [a.text for a in asked]
        assert asked[3].status_code in (400, 507)  # what it was sent is no xorb, if it looks before it writes
        assert "full" in asked[0].headers["x-error-message"]
        assert wire.head(name) == before and wire.files(name) == ["a", "config.json"]
        assert wire.read(name, "a").content == b"1" and list((server.data / "tmp").glob("in-*")) == []
        (small_disk / "rest").write_bytes(bytes(space_left(small_disk)))  # now the database cannot write either
        for n in range(60):
            answer = wire.post_commit(name, header(), file(f"c{n}", os.urandom(3000)))
            assert answer.status_code in (200, 507), answer.text
        assert answer.status_code == 507
        assert wire.read(name, "a").content == b"1"  # reading needs no room,
        assert wire.read(name, "config.json").content == b"{}"  # even where it would be counted
        fill.unlink()
        (small_disk / "rest").unlink()
        wire.upload(name, {"w": data})
        assert wire.read(name, "w").content == data


def space_left(folder: Path) -> int:
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


# --- F3, F4 commits that meet, and answers that are lost


def test_f03_two_commits_on_one_parent_lose_none(wire: Wire) -> None:
    name = wire.repo(fresh("f3"))
    for round_number in range(5):
        head = wire.head(name)

        def push(n: int, head: str = head, round_number: int = round_number) -> httpx.Response:
            return wire.post_commit(name, header(f"{round_number}-{n}", parentCommit=head),
                                    file(f"{round_number}/{n}", b"%d" % n))

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(push, range(6)))
        assert sorted(a.status_code for a in answers) == [200, 412, 412, 412, 412, 412]
        assert {a.headers.get("x-error-code") for a in answers if a.status_code == 412} == {"StaleParent"}
        won = next(a.json()["commitOid"] for a in answers if a.status_code == 200)
        assert wire.head(name) == won
    assert len(wire.files(name)) == 5


def test_f03_commits_without_a_parent_all_land(wire: Wire) -> None:
    name = wire.repo(fresh("f3"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: wire.post_commit(name, header(str(n)), file(f"{n}", b"x")), range(24)))
    assert {a.status_code for a in answers} == {200}
    assert len(wire.files(name)) == 24
    assert len(wire.http.get(f"/api/models/{name}/commits/main").json()) == 25


def test_f04_a_commit_whose_answer_was_lost_is_one_commit_when_sent_again(wire: Wire, open_server: HubProcess) -> None:
    name = wire.repo(fresh("f4"))
    parent = wire.head(name)
    body = ndjson(header("once", parentCommit=parent), file("a", b"1"))
    lose_the_answer(open_server.url, f"/api/models/{name}/commit/main", body)
    for _ in range(100):
        if wire.head(name) != parent:
            break
        time.sleep(0.05)
    made = wire.head(name)
    answer = wire.http.post(f"/api/models/{name}/commit/main", content=body)
    assert (answer.status_code, answer.json()["commitOid"]) == (200, made)
    assert len(wire.http.get(f"/api/models/{name}/commits/main").json()) == 2
    # Without a parent too, a retry that changes nothing makes no commit.
    for _ in range(2):
        assert wire.post_commit(name, header("again"), file("a", b"1")).json()["commitOid"] == made


def lose_the_answer(url: str, path: str, body: bytes) -> None:
    """Send a whole request and hang up before the answer comes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        time.sleep(0.2)


# --- F6 the sweep among everybody


def test_f06_a_sweep_without_grace_among_uploads_and_commits_takes_nothing_of_theirs(wire: Wire) -> None:
    stop = threading.Event()

    def sweeping() -> None:
        with Wire(str(wire.http.base_url)) as mine:
            while not stop.is_set():
                mine.http.post("/api/headwater/sweep", json={"grace_s": 0})
                stop.wait(0.02)

    def work(seed: int) -> None:
        dice = random.Random(seed)
        with Wire(str(wire.http.base_url)) as mine:
            name, shared = mine.repo(fresh("f6")), [b"\0shared %d" % n for n in range(3)]
            for n in range(8):
                files = {f"f{n}": dice.choice(shared), f"g{n}": b"\0" + dice.randbytes(100)}
                mine.upload(name, files)
                if n % 3 == 2:
                    assert mine.http.post(f"/api/models/{name}/super-squash/main", json={}).status_code == 200
                assert all(mine.read(name, path).content == body for path, body in files.items())
            for path in mine.files(name):
                assert mine.read(name, path).status_code == 200
            mine.http.request("DELETE", "/api/repos/delete", json={"name": name})

    sweeper = threading.Thread(target=sweeping)
    sweeper.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
    finally:
        stop.set()
        sweeper.join()


# --- F7, F8 uploads that break


def test_f07_a_body_cut_short_too_long_or_wrong_keeps_nothing(wire: Wire, open_server: HubProcess) -> None:
    name, data = wire.repo(fresh("f7")), os.urandom(300_000)
    href = wire.link(name, data)
    for body, status in ((data[:-1], 400), (data + b"x", 413), (data[::-1], 400), (b"", 400)):
        assert httpx.put(href, content=body).status_code == status
        assert wire.link(name, data), "bytes that were refused count as kept"
    assert list((open_server.data / "tmp").glob("in-*")) == []
    assert wire.post_commit(name, header(), lfs_file("w", data)).status_code == 404
    assert httpx.put(href, content=data).status_code == 200
    assert wire.post_commit(name, header(), lfs_file("w", data, size=len(data))).status_code == 200
    assert wire.post_commit(name, header(), lfs_file("v", data, size=len(data) + 1)).status_code == 400


def test_f07_parts_missing_swapped_or_sent_twice_are_told_by_number(wire: Wire) -> None:
    name, data = wire.repo(fresh("f7")), os.urandom(17_000_000)
    digest, size = hashlib.sha256(data).hexdigest(), 8_000_000
    upload = wire.batch(name, (digest, len(data)), transfers=("multipart",)).json()["objects"][0]["actions"]["upload"]

    def put(number: int, body: bytes | None = None) -> httpx.Response:
        piece = data[(number - 1) * size:number * size] if body is None else body
        return httpx.put(upload["header"][str(number)], content=piece)

    def complete(etags: dict[int, str]) -> httpx.Response:
        parts = [{"partNumber": n, "etag": etag} for n, etag in etags.items()]
        return httpx.post(upload["href"], json={"oid": digest, "parts": parts}, timeout=60)

    etags = {n: put(n).headers["etag"] for n in (3, 1)}
    assert "Part 2 of 3" in complete(etags).json()["error"]
    assert put(2, data[:5]).status_code == 400 and put(2, data[:size] + b"x").status_code == 413
    etags[2] = put(2).headers["etag"]
    assert complete({1: etags[2], 2: etags[1], 3: etags[3]}).status_code == 400
    assert put(2).headers["etag"] == etags[2]
    assert complete(etags).status_code == 200 == complete(etags).status_code
    assert wire.post_commit(name, header(), lfs_file("w", data, size=len(data))).status_code == 200
    assert hashlib.sha256(wire.read(name, "w").content).hexdigest() == digest


def test_f08_a_client_gone_in_mid_upload_leaves_nothing_and_can_come_back(wire: Wire, open_server: HubProcess) -> None:
    name, data = wire.repo(fresh("f8")), os.urandom(2_000_000)
    href = wire.link(name, data)
    path = href.split("/", 3)[3]
    host, port = open_server.url.removeprefix("http://").split(":")
    for cut in (0, 1000, 1_500_000):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n".encode())
            connection.sendall(data[:cut])
    head = wire.head(name)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"POST /api/models/{name}/commit/main HTTP/1.1\r\nHost: {host}:{port}\r\n"
                           f"Content-Length: 9999\r\n\r\n".encode() + ndjson(header(), file("a", b"1")))
    for _ in range(100):
        if not list((open_server.data / "tmp").glob("in-*")):
            break
        time.sleep(0.05)
    assert list((open_server.data / "tmp").glob("in-*")) == []
    assert wire.head(name) == head
    wire.upload(name, {"w": data})
    assert wire.read(name, "w").content == data


# --- F9 the database held by somebody else


def test_f09_a_commit_waits_while_another_process_writes_and_then_lands(wire: Wire, open_server: HubProcess) -> None:
    name = wire.repo(fresh("f9"))
    database = sqlite3.connect(open_server.data / "headwater.db", isolation_level=None, check_same_thread=False)
    database.execute("BEGIN IMMEDIATE")
    threading.Timer(1.5, lambda: database.execute("ROLLBACK")).start()
    started = time.monotonic()
    assert wire.http.get(f"/api/models/{name}").status_code == 200  # readers never wait
    assert time.monotonic() - started < 1
    assert wire.post_commit(name, header(), file("a", b"1")).status_code == 200
    assert time.monotonic() - started > 1
    database.close()


# --- F11 very many


def test_f11_ten_thousand_files_are_listed_once_each_while_others_commit(wire: Wire, tmp_path: Path) -> None:
    names = [f"d{n % 7}/f{n:05}" for n in range(10_000)]
    with opened_hub(tmp_path / "data") as hub:
        owner = owner_actor(hub)
        repo = repos.create(hub, owner, Kind.MODEL, owner.name, "many")
        first = commit(hub, owner, repo, "main", [Add("d0/seed", b"same")], title="one")
        entry = next(iter(hub.history.digests(find_repo(hub, owner, Kind.MODEL, repo.full_name, Access.READ))))
        commit(hub, owner, repo, "main", [Add(path, digest=entry) for path in names], title="many", parent=first.oid)
    with HubProcess(tmp_path / "data", sweep_every_s=0) as server, Wire(server.url) as mine:
        seen, url, pages = [], "/api/models/local/many/tree/main?recursive=true", 0
        while url:
            answer = mine.http.get(url)
            seen += [e["path"] for e in answer.json() if e["type"] == "file"]
            pages += 1
            mine.commit("local/many", {f"d0/a{pages}": b"%d" % pages})
            url = answer.links.get("next", {}).get("url")
        assert sorted(seen) == sorted([*names, "d0/seed"]) and pages == 11
        assert len(mine.http.get("/api/models/local/many").json()["siblings"]) == 10_001 + pages


def test_f11_ten_thousand_repos_are_listed_once_each_while_others_are_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened_hub(data) as hub:
        owner = owner_actor(hub)
        repos.create(hub, owner, Kind.MODEL, owner.name, "r0")
    with sqlite3.connect(data / "headwater.db") as database:  # 10,000 commits would only test the disk
        columns = [row[1] for row in database.execute("PRAGMA table_info(repos)")]
        columns = [name for name in columns if name not in ("id", "name", "key")]
        database.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) INSERT INTO repos "
            f"(name, key, {', '.join(columns)}) SELECT 'r' || i, 'local/r' || i, {', '.join(columns)} FROM repos, n "
            "WHERE name = 'r0'")
    with HubProcess(data, sweep_every_s=0) as server, Wire(server.url) as wire:
        for sort in ("createdAt", "likes", "lastModified", "name"):
            seen, url = [], f"/api/models?limit=1000&sort={sort}"
            while url:
                answer = wire.http.get(url)
                seen += [repo["id"] for repo in answer.json()]
                wire.repo(fresh("z"))
                wire.http.post(f"/api/models/{seen[-1]}/like")
                url = answer.links.get("next", {}).get("url")
            mine = [name for name in seen if name.startswith("local/r")]
            missing = {f"local/r{n}" for n in range(10_000)} - set(mine)
            assert not missing and len(mine) - len(set(mine)) <= 10, sort  # one liked meanwhile may come up again
