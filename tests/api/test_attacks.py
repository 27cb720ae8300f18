"""Attacks, by the numbers of docs/faults-and-attacks.md: each must fail, and say no more than it must."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from server import HubProcess, Team, fresh
from starlette.testclient import TestClient
from wire import Wire, file, header, lfs_file, line

from headwater.api.http import RateLimit
from headwater.app import open_app
from headwater.core.settings import load


@pytest.fixture(scope="module")
def wire(open_server: HubProcess) -> Iterator[Wire]:
    with Wire(open_server.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def people(team_server: Team) -> Iterator[dict[str, Wire]]:
    """A connection for each token of the team, and for nobody."""
    opened = {who: Wire(team_server.url, token) for who, token in team_server.tokens.items()}
    yield {**opened, "nobody": Wire(team_server.url)}
    for each in opened.values():
        each.http.close()


@pytest.fixture(scope="module")
def secret(people: dict[str, Wire]) -> str:
    """alice's private repo with a regular and an LFS file."""
    name = people["alice"].repo(fresh("secret"), private=True)
    people["alice"].upload(name, {"w.bin": b"\0private weights"})
    people["alice"].commit(name, {"private.txt": b"private text"})
    return name


# --- A1 paths and names

BAD_PATHS = ["../x", "a/../../x", "/etc/passwd", "a\\b", "a\0b", ".git/config", "a/.GIT/x", "a//b", "./a", "x" * 4096,
             "e\u0301", "a\u202eb", "a/", "", "a\nb", ".g\u200dit/x"]


@pytest.mark.parametrize("path", BAD_PATHS, ids=ascii)
def test_a01_no_path_climbs_hides_or_stands_twice(wire: Wire, path: str) -> None:
    name = wire.repo(fresh("a1"))
    data = b"\0bytes"
    wire.send(name, data)
    for change in (file(path, b"x"), lfs_file(path, data, size=len(data)), line("deletedFile", path=path)):
        assert wire.post_commit(name, header(), change).status_code == 400
    assert wire.files(name) == []


@pytest.mark.parametrize("path", ["..%2f..%2fheadwater.db", "%2e%2e/%2e%2e/headwater.db", "..%5c..%5cx", "%00", "a%00b",
                                  "%252e%252e%252f", "....//....//x", "/etc/passwd", "%2fetc%2fpasswd", "x" * 8000,
                                  "%ff%fe", ".%2e/.%2e/"])
def test_a01_no_address_reaches_a_file_outside_its_repo(wire: Wire, path: str) -> None:
    name = wire.repo(fresh("a1"))
    wire.commit(name, {"inside": b"inside"})
    for url in (f"/{name}/resolve/main/{path}", f"/{name}/resolve/{path}/inside",
                f"/api/models/{name}/tree/main/{path}", f"/api/models/{name}/revision/{path}",
                f"/{path}/{path}/resolve/main/inside", f"/static/{path}"):
        answer = wire.http.get(url)
        assert answer.status_code in (301, 302, 307, 400, 404, 414), (url[:80], answer.status_code)
        assert b"SQLite" not in answer.content and b"root:" not in answer.content


@pytest.mark.parametrize("ref", ["..", "../main", "refs/heads/x", "refs/pr/1", "a..b", "a.lock", "-x", "a b",
                                 "a\0", "@{0}", "x" * 300, "0" * 40, "/", "a/"], ids=ascii)
def test_a01_no_branch_or_tag_has_a_name_that_is_a_path(wire: Wire, ref: str) -> None:
    name = wire.repo(fresh("a1"))
    quoted = "".join(f"%{byte:02x}" for byte in ref.encode())
    assert wire.http.post(f"/api/models/{name}/branch/{quoted}", json={}).status_code in (400, 404)
    assert wire.http.post(f"/api/models/{name}/tag/main", json={"tag": ref}).status_code == 400
    assert [r["name"] for r in wire.http.get(f"/api/models/{name}/refs").json()["branches"]] == ["main"]


def test_a01_a_file_and_a_folder_of_one_name_do_not_both_stand(wire: Wire) -> None:
    name = wire.repo(fresh("a1"))
    for changes in ([file("a", b"1"), file("a/b", b"2")], [file("a/b", b"2"), file("a", b"1")],
                    [file("a/b/c", b"2"), file("a/b", b"1")]):
        assert wire.post_commit(name, header(), *changes).status_code == 400
    assert wire.files(name) == []
    wire.commit(name, {"README.md": b"1", "readme.md": b"2"})  # git keeps both, and so do we
    assert wire.read(name, "README.md").content == b"1" and wire.read(name, "readme.md").content == b"2"


# --- A2, A3 bytes one never had


def test_a02_naming_somebody_elses_bytes_gives_nothing(people: dict[str, Wire], secret: str) -> None:
    mine = people["carol"].repo(fresh("a2"))
    data = b"\0private weights"
    known, unknown = hashlib.sha256(data).hexdigest(), hashlib.sha256(b"nobody has this").hexdigest()
    answers = [people["carol"].post_commit(mine, header(), line("lfsFile", path="w", oid=oid, algo="sha256", size=16))
               for oid in (known, unknown)]
    assert [a.status_code for a in answers] == [404, 404]
    assert answers[0].text.replace(known, "") == answers[1].text.replace(unknown, "")
    assert people["carol"].files(mine) == []


def test_a02_a_batch_does_not_tell_which_bytes_others_have(people: dict[str, Wire], secret: str) -> None:
    mine = people["carol"].repo(fresh("a2"))
    known = hashlib.sha256(b"\0private weights").hexdigest()
    objects = people["carol"].batch(mine, (known, 16), ("0" * 64, 16)).json()["objects"]
    assert [set(o) for o in objects] == [{"oid", "size", "authenticated", "actions"}] * 2
    href = objects[0]["actions"]["verify"]["href"]
    assert people["carol"].http.post(href, json={"oid": known, "size": 16}).status_code == 400
    pre = people["carol"].http.post(f"/api/models/{mine}/preupload/main", json={"files": [
        {"path": "w", "sample": "AAAA", "size": 16, "sha": known}]}).json()["files"][0]
    assert pre["oid"] is None


def test_a03_a_copy_reaches_no_other_repo(people: dict[str, Wire], secret: str) -> None:
    mine = people["carol"].repo(fresh("a3"))
    source = people["alice"].http.get(f"/api/models/{secret}/tree/main").json()
    oids = {e["path"]: e.get("lfs", {}).get("oid") or e["oid"] for e in source}
    for oid in (oids["w.bin"], "f" * 64):
        answer = people["carol"].post_commit(mine, header(), line("lfsFile", path="w", oid=oid, algo="sha256"))
        assert answer.status_code == 404
    for path in ("lfs-files/duplicate", "lfs-files/batch"):
        answer = people["carol"].http.post(f"/api/models/{mine}/{path}", json={"files": [{"oid": oids["w.bin"]}]})
        assert answer.status_code in (404, 501)
    answer = people["carol"].http.post(f"/api/models/{secret}/duplicate", json={"repository": "carol/stolen"})
    assert answer.status_code == 404 and people["carol"].http.get("/api/models/carol/stolen").status_code == 404


def test_a03_a_repo_deleted_and_made_anew_does_not_inherit(people: dict[str, Wire]) -> None:
    alice, carol, name = people["alice"], people["carol"], fresh("a3")
    data = b"\0of the first"
    alice.upload(alice.repo(f"acme/{name}"), {"w": data})
    alice.http.request("DELETE", "/api/repos/delete", json={"name": f"acme/{name}"})
    alice.repo(f"acme/{name}")
    assert alice.post_commit(f"acme/{name}", header(), lfs_file("w", data)).status_code == 404
    assert carol.post_commit(f"acme/{name}", header(), lfs_file("w", data)).status_code == 403


# --- A4, A5 who may


def routes_of(name: str) -> list[tuple[str, str, Any]]:
    return [("GET", f"/api/models/{name}", None), ("GET", f"/api/models/{name}/revision/main", None),
            ("GET", f"/api/models/{name}/tree/main", None), ("GET", f"/api/models/{name}/commits/main", None),
            ("GET", f"/api/models/{name}/refs", None), ("GET", f"/api/models/{name}/auth-check", None),
            ("GET", f"/api/models/{name}/likers", None), ("GET", f"/api/models/{name}/lfs-files", None),
            ("GET", f"/{name}/resolve/main/w.bin", None), ("HEAD", f"/{name}/resolve/main/w.bin", None),
            ("GET", f"/api/models/{name}/safetensors-metadata/model.safetensors", None), ("GET", f"/{name}", None),
            ("GET", f"/api/models/{name}/xet-write-token/main", None),
            ("POST", f"/api/models/{name}/commit/main", None),
            ("POST", f"/api/models/{name}/preupload/main", {"files": []}), ("POST", f"/api/models/{name}/branch/x", {}),
            ("POST", f"/{name}.git/info/lfs/objects/batch", {"operation": "upload", "objects": []}),
            ("POST", f"/api/models/{name}/tag/main", {"tag": "x"}),
            ("POST", f"/api/models/{name}/super-squash/main", {}),
            ("PUT", f"/api/models/{name}/settings", {"private": False}), ("POST", f"/api/models/{name}/like", None),
            ("POST", "/api/repos/move", {"fromRepo": name, "toRepo": "carol/x"}), ("GET", f"/{name}/tree/main", None),
            ("DELETE", "/api/repos/delete", {"name": name})]


def shape(answer: httpx.Response, name: str) -> tuple[int, str | None, str]:
    return answer.status_code, answer.headers.get("x-error-code"), answer.text.replace(name, "NAME")


@pytest.mark.parametrize("who", ["carol", "nobody", "alice-one"])
def test_a04_private_and_absent_answer_the_same_everywhere(people: dict[str, Wire], secret: str, who: str) -> None:
    absent = "alice/" + "never-was-" + "x" * (len(secret) - len("alice/never-was-"))
    for (method, path, body), (_, other, other_body) in zip(routes_of(secret), routes_of(absent), strict=True):
        private = people[who].http.request(method, path, json=body)
        missing = people[who].http.request(method, other, json=other_body)
        assert shape(private, secret) == shape(missing, absent), (method, path)
        assert private.status_code in (401, 404), (method, path, private.status_code)
    assert people["alice"].head(secret)


def test_a04_lists_counts_and_likes_do_not_show_what_is_private(people: dict[str, Wire], secret: str) -> None:
    people["alice"].http.post(f"/api/models/{secret}/like")
    short = secret.split("/")[1]
    for who in ("carol", "nobody", "alice-one"):
        get = people[who].http.get
        for path in (f"/api/models?search={short}", "/api/models?author=alice&limit=1000", "/api/users/alice/likes",
                     f"/models?search={short}", "/", "/api/models?filter=x&full=true"):
            assert secret not in get(path).text, (who, path)
    assert secret in people["alice"].http.get("/api/models?author=alice&limit=1000").text
    seen = people["nobody"].http.get("/api/users/alice/overview").json()
    assert seen["numModels"] <= people["alice"].http.get("/api/users/alice/overview").json()["numModels"] - 1
    # How many one likes, private ones among them, is nobody's business either.
    assert seen["numLikes"] == len(people["nobody"].http.get("/api/users/alice/likes").json())


def test_a04_private_and_absent_take_the_same_time(people: dict[str, Wire], secret: str) -> None:
    absent = "alice/" + "n" * (len(secret) - 6)
    times: dict[str, list[float]] = {secret: [], absent: []}
    for _ in range(80):
        for name, taken in times.items():
            started = time.perf_counter()
            people["carol"].http.get(f"/api/models/{name}")
            taken.append(time.perf_counter() - started)
    private, missing = (statistics.median(taken) for taken in times.values())
    assert abs(private - missing) < max(0.35 * missing, 0.002), (private, missing)


@pytest.mark.parametrize(("who", "status"), [("alice-read", 403), ("alice-expired", 401), ("alice-revoked", 401),
                                             ("alice-one", 403), ("bob", 403), ("carol", 403), ("nobody", 401)])
def test_a05_a_token_writes_no_more_than_it_was_made_for(people: dict[str, Wire], who: str, status: int) -> None:
    name = people["alice"].repo("acme/" + fresh("a5"))
    head = people["alice"].head(name)
    asked = [people[who].post_commit(name, header(), file("a", b"1")), people[who].batch(name, ("0" * 64, 1)),
             people[who].http.post(f"/api/models/{name}/branch/x", json={}),
             people[who].http.get(f"/api/models/{name}/xet-write-token/main"),
             people[who].http.put(f"/api/models/{name}/settings", json={"private": True}),
             people[who].http.request("DELETE", "/api/repos/delete", json={"name": name})]
    assert [a.status_code for a in asked] == [status] * len(asked)
    assert people["alice"].head(name) == head


def test_a05_a_token_for_one_repo_opens_that_and_no_other(people: dict[str, Wire]) -> None:
    people["alice"].http.post("/api/repos/create", json={"name": "one", "private": True})
    other = people["alice"].repo(fresh("a5"), private=True)
    assert people["alice-one"].commit("alice/one", {"a": fresh().encode()})
    assert people["alice-one"].http.get(f"/api/models/{other}").status_code == 404
    assert people["alice-one"].http.post("/api/repos/create", json={"name": fresh()}).status_code == 403


def test_a05_a_wrong_token_is_never_taken_for_a_stranger(people: dict[str, Wire], team_server: Team) -> None:
    name = people["alice"].repo(fresh("a5"))
    for value in ("Bearer hf_wrong", "Bearer x", "Bearer hf_" + "x" * 5000, "Basic !!!", "Bearer hf_\x80"):
        answer = httpx.get(f"{team_server.url}/api/models/{name}", headers={"authorization": value.encode("latin-1")})
        assert answer.status_code == 401, value


def test_a05_an_upload_link_opens_one_digest_of_one_size_for_as_long_as_its_maker_may(people: dict[str, Wire]) -> None:
    alice, dora = people["alice"], people["dora"]
    name = alice.repo("acme/" + fresh("a5"))
    data, other = b"\0right bytes", b"\0wrong bytes"
    href = alice.link(name, data)
    digest, wrong = (hashlib.sha256(d).hexdigest() for d in (data, other))
    assert httpx.put(href.replace(digest, wrong), content=other).status_code == 400
    assert httpx.put(href, content=other).status_code == 400
    assert httpx.put(href, content=data + b"!").status_code == 413
    assert httpx.put(href, content=data[:-1]).status_code == 400
    at = href.index("t=") + 10
    assert httpx.put(href[:at] + ("A" if href[at] != "A" else "B") + href[at + 1:], content=data).status_code == 403
    assert httpx.put(href.split("?")[0], content=data).status_code == 400
    assert httpx.put(href, content=data).status_code == 200 == httpx.put(href, content=data).status_code  # a retry
    href = alice.link(name, b"\0later")
    alice.http.request("DELETE", "/api/repos/delete", json={"name": name})
    assert httpx.put(href, content=b"\0later").status_code == 404
    assert dora.http.get(f"/api/models/{name}").status_code == 404


# --- A7 bombs


def quickly(seconds: float, call: Any, *args: Any, **kwargs: Any) -> httpx.Response:
    started = time.monotonic()
    answer = call(*args, **kwargs)
    assert time.monotonic() - started < seconds, "it took too long"
    return answer


def test_a07_yaml_that_expands_is_refused_at_once(wire: Wire) -> None:
    laughs = "a0: &a0 [x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    for text in (laughs, "a: " + "[" * 5000, "a: " + "{a: " * 5000, "? " * 5000, "- " * 5000,
                 "a: !!int " + "9" * 100_000, "a: &a [*a]", "<<: {a: 1}\n" * 2000,
                 "a: '" + "\\" * 100_000, "a: 1" + ":1" * 60_000):
        answer = quickly(5, wire.http.post, "/api/validate-yaml", json={"content": f"---\n{text}\n---\n"})
        assert answer.status_code in (200, 400) and "errors" in answer.json(), text[:30]


def test_a07_a_pushed_card_that_expands_does_not_hurt_the_push(wire: Wire) -> None:
    name = wire.repo(fresh("a7"))
    text = "---\na: &a [x,x]\nb: [*a,*a]\n---\n" + "[" * 20_000 + "](" * 20_000 + "<" * 20_000
    quickly(10, wire.commit, name, {"README.md": text.encode()})
    assert quickly(10, wire.http.get, f"/api/models/{name}").status_code == 200
    assert quickly(10, wire.http.get, f"/{name}", headers={"accept": "text/html"}).status_code == 200


def test_a07_a_gitignore_that_backtracks_is_refused_or_quick(wire: Wire) -> None:
    name = wire.repo(fresh("a7"))
    files = [{"path": "a/" * 60 + "a" * 200, "sample": "", "size": 1}] * 200
    for text in ("*a" * 100 + "b", "**/" * 60 + "b", "\n".join(["*a*a*a*a*a*a*a*b"] * 400), "[" * 250, "[a-" * 80,
                 "!" * 200, "\\" * 201, "a**b**c**d**e", "x" * 100_000):
        answer = quickly(20, wire.http.post, f"/api/models/{name}/preupload/main",
                         json={"files": files, "gitIgnore": text})
        assert answer.status_code in (200, 400), text[:30]


def test_a07_lines_and_numbers_without_end_are_refused(wire: Wire) -> None:
    name = wire.repo(fresh("a7"))
    url = f"/api/models/{name}/commit/main"

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 1_000_000

    answer = quickly(20, wire.http.post, url, content=endless())
    assert answer.status_code == 413
    for content in (b'{"key":"header","value":{"summary":' + b"9" * 5000 + b"}}", b'{"key":' * 5000, b"[" * 1_000_000):
        assert quickly(5, wire.http.post, url, content=content).status_code == 400
    many = b'{"key":"deletedFile","value":{"path":"a"}}\n' * 50_002
    assert quickly(60, wire.http.post, url, content=many).status_code == 413


@pytest.mark.parametrize("head", [
    (2**63).to_bytes(8, "little"), (2**64 - 1).to_bytes(8, "little") + b"{}", (100_000_001).to_bytes(8, "little"),
    (20).to_bytes(8, "little") + b"{" * 20, (200_000).to_bytes(8, "little") + b"[" * 200_000,
    b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63), b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62)],
    ids=lambda head: f"{len(head)}-{head[:16].hex()}")
def test_a07_headers_that_lie_about_their_length_do_not_hurt(wire: Wire, head: bytes) -> None:
    name = wire.repo(fresh("a7"))
    path = "m.gguf" if head[:4] == b"GGUF" else "model.safetensors"
    wire.upload(name, {path: head + bytes(64)})
    assert quickly(10, wire.http.get, f"/api/models/{name}?expand=safetensors&expand=gguf").status_code == 200
    assert quickly(10, wire.http.get, f"/{name}", headers={"accept": "text/html"}).status_code == 200
    answer = quickly(10, wire.http.get, f"/api/models/{name}/safetensors-metadata/{path}")
    assert answer.status_code in (400, 404), answer.text


# --- A10 scripts


def test_a10_a_card_runs_no_script_and_leads_nowhere_it_should_not(wire: Wire) -> None:
    name = wire.repo(fresh("a10"))
    attacks = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
               "<svg onload=alert(1)>", "<a href='javascript:alert(1)'>x</a>",
               "<iframe src='//evil.example'></iframe>", "<style>*{display:none}</style>",
               "<form action='//evil.example'><input></form>", "<base href='//evil.example'>",
               "<meta http-equiv=refresh content='0;//evil.example'>", "<div style='position:fixed'>x</div>",
               "[x](data:text/html;base64,PHNjcmlwdD4=)", "`</code><script>alert(1)</script>`"]
    front = "---\nlicense: '<script>alert(1)</script>'\ntags: ['\"><script>alert(1)</script>']\n---\n"
    wire.commit(name, {"README.md": (front + "\n\n".join(attacks)).encode()})
    answer = wire.http.get(f"/{name}", headers={"accept": "text/html"})
    assert answer.status_code == 200
    page = answer.text.lower()
    for bad in ("<script>alert", "onerror=", "onload=alert", "href=\"javascript:", "href='javascript:", "<iframe",
                "<base", "http-equiv=\"refresh", "http-equiv=refresh", "position:fixed",
                "action=\"//evil", "href=\"data:"):
        assert bad not in page.replace("&lt;", "«").replace("&quot;", "«").replace("&#39;", "«"), bad
    policy = answer.headers["content-security-policy"]
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0] if "script-src" in policy else True
    assert "object-src 'none'" in policy or "default-src 'none'" in policy or "default-src 'self'" in policy


def test_a10_what_a_request_says_is_never_echoed_as_a_page(wire: Wire) -> None:
    for path in ("/<script>alert(1)</script>", "/api/models/<script>alert(1)</script>/x",
                 "/models?search=<script>alert(1)</script>", "/a/b/resolve/<script>alert(1)</script>/x"):
        answer = wire.http.get(path, headers={"accept": "text/html"}, follow_redirects=True)
        kind = answer.headers.get("content-type", "")
        assert "html" not in kind or "<script>alert(1)" not in answer.text, path
        assert answer.headers["x-content-type-options"] == "nosniff"


# --- A12 names


def test_a12_names_that_are_routes_or_look_alike_are_not_given(people: dict[str, Wire]) -> None:
    for owner in ("api", "datasets", "v1", "docs", "Settings", "аlice", "alice\u200d", "alicе", "..", "a/b"):
        answer = people["dora"].http.post("/api/repos/create", json={"name": "x", "organization": owner})
        assert answer.status_code == 400, owner
    answer = people["carol"].http.post("/api/repos/create", json={"name": "x", "organization": "ALICE"})
    assert answer.status_code == 403
    name = people["alice"].repo(fresh("a12"))
    assert people["alice"].http.post("/api/repos/create", json={"name": name.split("/")[1].upper()}).status_code == 409


def test_a12_an_old_name_cannot_be_taken_by_somebody_else(people: dict[str, Wire]) -> None:
    old = people["alice"].repo(fresh("a12"))
    new = f"alice/{fresh('moved')}"
    move = {"fromRepo": old, "toRepo": new}
    assert people["carol"].http.post("/api/repos/move", json=move).status_code == 403
    assert people["alice"].http.post("/api/repos/move", json=move).status_code == 200
    assert people["nobody"].http.get(f"/api/models/{old}").json()["id"] == new
    assert people["carol"].http.post("/api/repos/create", json={"name": old}).status_code == 403
    other = people["carol"].repo(fresh("a12"))
    assert people["carol"].http.post("/api/repos/move", json={"fromRepo": other, "toRepo": old}).status_code == 403
    people["alice"].http.put(f"/api/models/{new}/settings", json={"private": True})
    assert people["nobody"].http.get(f"/api/models/{old}").status_code == 404  # nor does the redirect tell


# --- A13 limits


def test_a13_a_quota_is_counted_once_however_many_push_at_once(tmp_path: Path) -> None:
    with HubProcess(tmp_path / "quota", repo_quota_bytes=10_000, sweep_every_s=0) as server, Wire(server.url) as wire:
        name = wire.repo("q")
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(lambda n: wire.post_commit(name, header(), file(f"f{n}", b"x" * 3000)), range(8)))
        assert sorted(a.status_code for a in asked) == [200] * 3 + [413] * 5
        assert wire.http.get(f"/api/models/{name}").json()["usedStorage"] == 9000 and len(wire.files(name)) == 3


def test_a13_whoever_asks_too_often_is_told_to_wait(tmp_path: Path) -> None:
    app = open_app(load(tmp_path / "rate", {"requests_per_minute": 60, "host": "127.0.0.1"}, environ={}))
    try:
        outside = TestClient(app.http, client=("203.0.113.9", 1))
        seen = [outside.get("/healthz").status_code for _ in range(70)]
        assert seen[:60].count(200) == 60 and 429 in seen[60:]
        refused = outside.get("/healthz")
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
        assert TestClient(app.http, client=("203.0.113.10", 1)).get("/healthz").status_code == 200
        for n in range(10):  # a new wrong token each time buys nothing
            assert outside.get("/healthz", headers={"authorization": f"Bearer hf_{n}"}).status_code == 429
    finally:
        app.records.close()


def test_a13_the_limiter_itself_stays_small() -> None:
    limit = RateLimit(None, per_minute=60)
    for n in range(12_000):
        limit._allow({"client": (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1), "headers": [], "path": "/x"})
    assert len(limit._buckets) <= 10_000


# --- A15 the log


def test_a15_the_log_is_only_ever_added_to(people: dict[str, Wire], team_server: Team) -> None:
    name = people["alice"].repo(fresh("a15"))
    sha = people["alice"].commit(name, {"a": b"1"})
    people["alice"].http.request("DELETE", "/api/repos/delete", json={"name": name})
    with sqlite3.connect(f"file:{team_server.server.data}/headwater.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT actor, token, action, detail FROM audit WHERE subject = ? ORDER BY id",
                                (f"model/{name}",)).fetchall()
    actions = ("repo.create", "commit", "repo.delete")
    assert [row[:3] for row in rows] == [("alice", "laptop", action) for action in actions]
    assert json.loads(rows[1][3])["revision"] == sha


# --- and the door of an open hub


@pytest.mark.parametrize("headers", [
    {"host": "evil.example"}, {"host": "127.0.0.1.evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"},
    {"x-forwarded-for": "203.0.113.9"}, {"host": "localhost.evil.example:80"}])
def test_a08_a_page_of_another_site_is_not_the_owner_of_an_open_hub(wire: Wire, headers: dict[str, str]) -> None:
    assert wire.http.get("/api/whoami-v2", headers=headers).status_code == 401
    assert wire.http.post("/api/repos/create", json={"name": fresh()}, headers=headers).status_code == 401


def test_a05_basic_credentials_work_as_git_lfs_sends_them(team_server: Team) -> None:
    both = base64.b64encode(b"alice:" + team_server.tokens["alice"].encode()).decode()
    answer = httpx.get(team_server.url + "/api/whoami-v2", headers={"authorization": f"Basic {both}"})
    assert answer.json()["name"] == "alice"


def test_a13_many_slow_clients_do_not_keep_others_waiting(wire: Wire) -> None:
    name = wire.repo(fresh("slow"))
    stop = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b'{"key":"header",'
        stop.wait(20)

    def hang() -> None:
        with httpx.Client(base_url=wire.http.base_url, timeout=30) as client:
            client.post(f"/api/models/{name}/commit/main", content=slowly())

    threads = [threading.Thread(target=hang, daemon=True) for _ in range(60)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        assert quickly(5, wire.http.get, f"/api/models/{name}").status_code == 200
        assert quickly(5, wire.post_commit, name, header(), file("a", b"1")).status_code == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
