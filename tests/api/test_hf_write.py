"""The write side of the wire: what clients rely on and what malformed requests are told."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator

import httpx
import pytest
from server import HubProcess, fresh
from wire import Wire, file, header, lfs_file, line


@pytest.fixture(scope="module")
def wire(open_server: HubProcess) -> Iterator[Wire]:
    with Wire(open_server.url) as opened:
        yield opened


@pytest.fixture
def name(wire: Wire) -> str:
    return wire.repo(fresh("w"))


def refused(answer: httpx.Response, status: int = 400, code: str = "BadRequest") -> str:
    """The message of a refusal, which stands in headers and body alike."""
    assert (answer.status_code, answer.headers["x-error-code"]) == (status, code), answer.text
    assert answer.headers["x-error-message"].split("\n")[0][:40] == answer.json()["error"].encode(
        "latin-1", "replace").decode("latin-1")[:40]
    return answer.json()["error"]


# --- making repos


def test_creating_what_exists_says_where_it_is(wire: Wire, name: str) -> None:
    answer = wire.http.post("/api/repos/create", json={"name": name.split("/")[1]})
    refused(answer, 409, "RepoExists")
    assert answer.json()["url"] == f"{wire.http.base_url}/{name}".replace("//local", "/local")
    other_case = name.upper().replace("LOCAL", "local")
    refused(wire.http.post("/api/repos/create", json={"name": other_case}), 409, "RepoExists")


@pytest.mark.parametrize(("body", "status", "code"), [
    ({"name": "../x"}, 400, "BadRequest"), ({"name": "a/b/c"}, 400, "BadRequest"), ({"name": ""}, 400, "BadRequest"),
    ({}, 400, "BadRequest"), ([], 400, "BadRequest"), ({"name": "x", "type": "space"}, 501, "NotBuilt"),
    ({"name": "x", "visibility": "protected"}, 501, "NotBuilt"), ({"name": "api/x"}, 400, "BadRequest"),
    ({"name": "x", "organization": "datasets"}, 400, "BadRequest"), ({"name": 5}, 400, "BadRequest")])
def test_a_repo_that_cannot_be_is_refused_with_the_reason(wire: Wire, body, status: int, code: str) -> None:
    assert refused(wire.http.post("/api/repos/create", json=body), status, code)


def test_a_body_that_is_no_json_is_a_bad_request(wire: Wire, name: str) -> None:
    for path in ("/api/repos/create", "/api/validate-yaml", f"/api/models/{name}/preupload/main",
                 f"/{name}.git/info/lfs/objects/batch", f"/api/models/{name}/tag/main"):
        for content in (b"", b"{", b"\xff\xfe", b"[" * 50_000, b"null", b'"x"', b"1e999"):
            answer = wire.http.post(path, content=content, headers={"content-type": "application/json"})
            assert answer.status_code == 400, (path, content[:10], answer.text)


# --- cards and preupload


def test_validating_a_card_always_answers_errors_and_warnings(wire: Wire) -> None:
    for content, errors in (("", 0), ("# no front", 0), ("---\nlicense: mit\n---\n", 0), ("---\nlicense: [\n---\n", 1),
                            ("---\ntags: 5\n---\n", 1), ("---\na: &x 1\nb: *x\n---\n", 1)):
        answer = wire.http.post("/api/validate-yaml", json={"content": content, "repoType": "model"})
        assert len(answer.json()["errors"]) == errors and isinstance(answer.json()["warnings"], list), content
        assert answer.status_code == (400 if errors else 200)


def preupload(wire: Wire, name: str, *files: dict, **more) -> httpx.Response:
    return wire.http.post(f"/api/models/{name}/preupload/main", json={"files": list(files), **more})


def entry(path: str, sample: bytes = b"", size: int | None = None) -> dict:
    return {"path": path, "sample": base64.b64encode(sample).decode(), "size": len(sample) if size is None else size}


def test_preupload_tells_how_each_file_travels(wire: Wire, name: str) -> None:
    wire.commit(name, {"there.txt": b"there"})
    files = [entry("a.txt", b"text"), entry("w.bin", b"\0\1"), entry("e", b""), entry("big.txt", b"text", 20_000_000),
             entry("there.txt", b"other"), entry("skip.log", b"text"), entry("模型.txt", "模型".encode())]
    answer = preupload(wire, name, *files, gitIgnore="*.log\n").json()
    assert [f["uploadMode"] for f in answer["files"]] == ["regular", "lfs", "regular", "lfs", "regular", "regular",
                                                         "regular"]
    assert [f["path"] for f in answer["files"] if f["shouldIgnore"]] == ["skip.log"]
    assert {f["path"]: f["oid"] for f in answer["files"]}["there.txt"] == hashlib.sha1(b"blob 5\0there").hexdigest()
    assert answer["commitOid"] == wire.head(name)


def test_preupload_refuses_what_could_not_be_committed(wire: Wire, name: str) -> None:
    refused(preupload(wire, name, entry("../x", b"x")))
    refused(preupload(wire, name, {"path": "a", "sample": "%%%", "size": 1}))
    refused(preupload(wire, name, {"path": "a", "sample": "", "size": -1}))
    refused(preupload(wire, name, *[entry(f"f{n}") for n in range(10_001)]))
    answer = wire.http.post(f"/api/models/{name}/preupload/nope", json={"files": []})
    refused(answer, 404, "RevisionNotFound")
    refused(wire.http.post(f"/api/models/{name}/preupload/main?create_pr=true", json={"files": []}), 501, "NotBuilt")


# --- commits


@pytest.mark.parametrize("lines", [
    [], [file("a", b"1")], [header(), {"key": "nope", "value": {}}], [header(), {"key": "file"}],
    [header(), line("file", path="a")], [header(), line("file", path="a", content="%%", encoding="base64")],
    [header(), line("file", path=5, content="")], [header(), line("lfsFile", path="a", oid="zz", algo="sha256")],
    [header(), line("lfsFile", path="a", oid="0" * 64, algo="md5")], [header(parentCommit="short")],
    [header(), line("lfsFile", path="a", oid="0" * 64, size=-1)],
    [header(), line("lfsFile", path="a", oid="0" * 64, size=True)],
    [line("header", summary=5)], [header(), line("deletedFile", path="../x")],
    [header(), line("deletedFolder", path="/")],
    [header(), header(), line("deletedFile")]], ids=lambda lines: json.dumps(lines)[:50])
def test_a_malformed_commit_is_refused_and_changes_nothing(wire: Wire, name: str, lines: list[dict]) -> None:
    head = wire.head(name)
    refused(wire.post_commit(name, *lines))
    assert wire.head(name) == head


@pytest.mark.parametrize("body", [b"\n\n\n", b"{}", b"[]", b"nonsense", b"\xff\n",
                                  b'{"key": "header", "value": {"summary": "t"}',
                                  b'{"key":"header","value":{"summary":"t","x":' + b"[" * 100_000])
def test_a_commit_that_is_no_ndjson_is_a_bad_request(wire: Wire, name: str, body: bytes) -> None:
    refused(wire.http.post(f"/api/models/{name}/commit/main", content=body))


def test_lines_may_be_cut_anywhere_and_end_without_a_newline(wire: Wire, name: str) -> None:
    body = b"\n".join(json.dumps(each).encode() for each in (header(), file("a", b"x" * 300), file("ü", b"2")))

    def drops() -> Iterator[bytes]:
        for at in range(0, len(body), 7):
            yield body[at:at + 7]

    assert wire.http.post(f"/api/models/{name}/commit/main", content=drops()).status_code == 200
    assert wire.files(name) == ["a", "ü"]


def test_a_file_too_large_to_travel_in_a_commit_is_sent_elsewhere(wire: Wire, name: str) -> None:
    message = refused(wire.post_commit(name, header(), file("a", bytes(10_000_001))), 413, "TooLarge")
    assert "LFS or Xet" in message
    assert "LFS or Xet" in refused(wire.post_commit(name, header(), file("a", bytes(16_000_000))), 413, "TooLarge")


def test_a_pull_request_is_said_not_to_be_built(wire: Wire, name: str) -> None:
    answer = wire.http.post(f"/api/models/{name}/commit/main?create_pr=1", content=json.dumps(header()))
    refused(answer, 501, "NotBuilt")


def test_titles_are_cut_and_odd_text_survives(wire: Wire, name: str) -> None:
    wire.post_commit(name, header("  t " + "x" * 1000, description="ü\n" * 10), file("a", b"1"))
    newest = wire.http.get(f"/api/models/{name}/commits/main?expand[]=formatted").json()[0]
    assert len(newest["title"]) == 500 and newest["message"].startswith("ü\nü")
    wire.post_commit(name, header("<b>&</b>"), file("a", b"2"))
    newest = wire.http.get(f"/api/models/{name}/commits/main?expand[]=formatted").json()[0]
    assert newest["formatted"]["title"] == "&lt;b&gt;&amp;&lt;/b&gt;"
    for summary in ("", "   ", "a\0b", "a\nb\x1b[31m", "\ud800"):
        answer = wire.post_commit(name, header(summary), file("a", summary.encode("utf-8", "replace") + b"!"))
        assert answer.status_code in (200, 400), answer.text


# --- LFS


def test_a_batch_answers_only_what_is_missing(wire: Wire, name: str) -> None:
    here = wire.send(name, b"here")
    wire.upload(name, {"w": b"here"})
    other = hashlib.sha256(b"other").hexdigest()
    answer = wire.batch(name, (here, 4), (other, 5)).json()
    assert answer["transfer"] == "basic" and "actions" not in answer["objects"][0]
    actions = answer["objects"][1]["actions"]
    assert set(actions) == {"upload", "verify"} and "authorization" not in json.dumps(actions).lower()
    early = wire.http.post(actions["verify"]["href"], json={"oid": other, "size": 5})
    refused(early)
    assert httpx.put(actions["upload"]["href"], content=b"other").status_code == 200
    assert wire.http.post(actions["verify"]["href"], json={"oid": other, "size": 5}).status_code == 200


def test_large_files_come_in_parts_when_the_client_can(wire: Wire, name: str) -> None:
    data = bytes(range(256)) * 65_536  # 16 MB, parts of 8
    digest = hashlib.sha256(data).hexdigest()
    answer = wire.batch(name, (digest, len(data)), transfers=("basic", "multipart")).json()
    assert answer["transfer"] == "multipart"
    upload = answer["objects"][0]["actions"]["upload"]
    size = int(upload["header"]["chunk_size"])
    parts = []
    for number in (2, 1, 3):
        if str(number) in upload["header"]:
            at = (number - 1) * size
            put = httpx.put(upload["header"][str(number)], content=data[at:at + size])
            parts.append({"partNumber": number, "etag": put.headers["etag"]})
    assert len(parts) == -(-len(data) // size) > 1
    assert httpx.post(upload["href"], json={"oid": digest, "parts": parts}).status_code == 200
    assert wire.post_commit(name, header(), lfs_file("w", data, size=len(data))).status_code == 200
    assert wire.read(name, "w").content == data
    only_basic = wire.batch(name, (hashlib.sha256(b"x" + data).hexdigest(), len(data)), transfers=("basic",)).json()
    assert only_basic["transfer"] == "basic" and "header" not in only_basic["objects"][0]["actions"]["upload"]


@pytest.mark.parametrize("more", [
    {"objects": [{"oid": "x", "size": 1}]}, {"objects": [{"oid": "0" * 64, "size": -1}]}, {"hash_algo": "md5"},
    {"objects": [{"oid": "0" * 64, "size": 2**63}]}, {"objects": [{"oid": "0" * 64, "size": 10**40}]},
    {"objects": [{"oid": "0" * 64, "size": 1}] * 1001}])
def test_a_malformed_batch_is_refused(wire: Wire, name: str, more: dict) -> None:
    assert wire.batch(name, ("0" * 64, 1), **more).status_code in (400, 413)


# --- the rest


def test_a_tree_in_pages_is_of_one_revision_however_the_branch_moves(wire: Wire, name: str) -> None:
    wire.commit(name, {f"f{n:03}": b"%d" % n for n in range(30)})
    seen, url = [], f"/api/models/{name}/tree/main?limit=7"
    while url:
        answer = wire.http.get(url)
        seen += [e["path"] for e in answer.json()]
        wire.commit(name, {f"a{len(seen)}": b"%d" % len(seen)})
        url = answer.links.get("next", {}).get("url")
    assert seen == [f"f{n:03}" for n in range(30)]
    for page in (10**6, 10**18, 10**40, -1):
        assert wire.http.get(f"/api/models/{name}/commits/main?p={page}").status_code in (200, 400)
    for cursor in ("x", "LTE=", "", "AAAA" * 400):
        assert wire.http.get(f"/api/models/{name}/tree/main", params={"cursor": cursor}).status_code in (200, 400)


def test_what_is_not_built_says_so_in_the_header_clients_show(wire: Wire, name: str) -> None:
    for method, path in (("GET", f"/api/models/{name}/discussions"),
                         ("POST", f"/api/models/{name}/discussions/1/merge"),
                         ("GET", "/api/spaces/a/b"), ("GET", "/api/collections"), ("POST", "/api/settings/webhooks"),
                         ("GET", "/api/datasets/local/x/leaderboard"), ("GET", "/api/spaces")):
        answer = wire.http.request(method, path)
        assert answer.status_code == 501 and answer.headers["x-error-message"], path
    answer = wire.http.get("/api/nonsense/at/all")
    refused(answer, 404, "NotFound")


def test_telemetry_and_other_optional_calls_do_not_break_a_client(wire: Wire) -> None:
    for path in ("/api/agent-harnesses", "/api/telemetry/x", "/v1/telemetry"):
        assert wire.http.get(path).status_code in (404, 405)
