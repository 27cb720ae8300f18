"""The Xet door over HTTP: the routes, and unmodified clients pushing through it again and again.

Clients remember what they sent for three weeks; the journey at the end is every way that memory can mislead them.
"""

import asyncio
import hashlib
import os
import shutil
import socket
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from clients import run_client
from server import HubProcess, Team, fresh
from xet_made import File, packed_chunk, shard, xorb

from headwater.api.http import RateLimit
from headwater.app import open_app
from headwater.core.settings import load
from headwater.hub.sweep import sweep
from headwater.hub.xet_format import BODY_MAX
from headwater.hub.xet_store import Generation

ONE = xorb(9000, 20_000, 100, seed=1)
WHOLE = File(((ONE, 0, 3),))
VERSIONS = ("2.4.0", "1.33.0")


def new_repo(client: httpx.Client, kind: str = "model", **body: object) -> str:
    name = fresh("xet")
    client.post("/api/repos/create", json={"name": name, "type": kind, **body}).raise_for_status()
    return name


@pytest.fixture
def http(open_server: HubProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=open_server.url, timeout=30) as client:
        yield client


@pytest.fixture
def cas(http: httpx.Client) -> Iterator[httpx.Client]:
    """A client of the Xet door for a fresh repo; `cas.repo` is its name."""
    repo = f"local/{new_repo(http)}"
    said = http.get(f"/api/models/{repo}/xet-write-token/main").raise_for_status().json()
    with httpx.Client(base_url=said["casUrl"], headers={"authorization": f"Bearer {said['accessToken']}"}) as client:
        client.repo = repo
        yield client


def error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.headers["x-error-message"]


# --- the token


def test_a_token_comes_as_json_and_as_headers(http: httpx.Client):
    answer = http.get(f"/api/models/local/{new_repo(http)}/xet-write-token/main")
    said = answer.json()
    assert said["casUrl"].startswith(str(http.base_url).rstrip("/") + "/api/headwater/xet/")
    assert answer.headers["x-xet-cas-url"] == said["casUrl"]
    assert answer.headers["x-xet-access-token"] == said["accessToken"]
    assert int(answer.headers["x-xet-token-expiration"]) == said["exp"] > time.time() + 600


def test_a_dataset_has_a_token_too_and_a_revision_may_be_quoted(http: httpx.Client):
    repo = new_repo(http, "dataset")
    assert http.get(f"/api/datasets/local/{repo}/xet-write-token/refs%2Fpr%2F1").status_code == 200


def test_who_may_not_write_gets_no_token(team_server: Team):
    with team_server.client("alice") as alice:
        public, private = (f"alice/{new_repo(alice, private=private)}" for private in (False, True))
    for who, expected in (("alice-read", 403), ("bob", 403), ("alice-one", 403), ("alice-expired", 401), (None, 401)):
        with team_server.client(who) as client:
            assert client.get(f"/api/models/{public}/xet-write-token/main").status_code == expected, who
    for who, expected in (("bob", 404), ("carol", 404), (None, 404)):
        with team_server.client(who) as client:
            assert client.get(f"/api/models/{private}/xet-write-token/main").status_code == expected, who


# --- the routes


def test_a_file_sent_as_xorb_and_shard_can_be_committed_and_read(http: httpx.Client, cas: httpx.Client):
    assert cas.post(f"/v1/xorbs/default/{ONE.text}", content=ONE.body()).json() == {"was_inserted": True}
    assert cas.post("/v1/shards", content=shard([WHOLE], [ONE])).json() == {"result": 1}
    commit(http, cas.repo, WHOLE).raise_for_status()
    answer = http.get(f"/{cas.repo}/resolve/main/model.bin")
    assert answer.content == WHOLE.data
    assert "x-xet-hash" not in answer.headers


def commit(http: httpx.Client, repo: str, file: File) -> httpx.Response:
    lines = ('{"key": "header", "value": {"summary": "s"}}\n{"key": "lfsFile", "value": {"path": "model.bin", '
             f'"algo": "sha256", "oid": "{file.sha256}", "size": {len(file.data)}}}}}')
    return http.post(f"/api/models/{repo}/commit/main", content=lines,
                     headers={"content-type": "application/x-ndjson"})


def test_bytes_sent_for_one_repo_cannot_be_committed_to_another(http: httpx.Client, cas: httpx.Client):
    cas.post(f"/v1/xorbs/default/{ONE.text}", content=ONE.body()).raise_for_status()
    cas.post("/v1/shards", content=shard([WHOLE], [ONE])).raise_for_status()
    assert commit(http, f"local/{new_repo(http)}", WHOLE).status_code >= 400


@pytest.mark.parametrize(("method", "path"), [
    ("GET", f"/v1/chunks/default/{ONE.text}"), ("GET", f"/v1/chunks/default-merkledb/{ONE.text}"),
    ("POST", f"/v1/xorb-grants/default/{ONE.text}"), ("POST", "/v2/shards"),
    ("GET", f"/v1/reconstructions/{ONE.text}"), ("HEAD", f"/v1/xorbs/default/{ONE.text}"),
])
def test_what_is_optional_answers_404_whatever_is_kept_and_whoever_asks(cas: httpx.Client, method: str, path: str):
    before = cas.request(method, path)
    cas.post(f"/v1/xorbs/default/{ONE.text}", content=ONE.body()).raise_for_status()
    after = cas.request(method, path)
    assert before.status_code == after.status_code == 404
    assert before.content == after.content
    assert cas.request(method, path, headers={"authorization": "Bearer nobody"}).status_code == 404


def test_without_its_token_nothing_is_taken(cas: httpx.Client, http: httpx.Client):
    url = str(cas.base_url).rstrip("/")
    for headers in ({}, {"authorization": "Bearer forged"}, {"authorization": "Basic eDp5"}):
        assert error(http.post(f"{url}/v1/xorbs/default/{ONE.text}", content=ONE.body(), headers=headers), 401)
        assert error(http.post(f"{url}/v1/shards", content=shard([]), headers=headers), 401)


def test_each_lie_has_its_own_answer(cas: httpx.Client):
    xorbs = f"/v1/xorbs/default/{ONE.text}"
    assert "ends inside chunk 2" in error(cas.post(xorbs, content=ONE.body()[:-1]), 400)
    assert "131,072 are allowed" in error(cas.post(xorbs, content=packed_chunk(bytes(128 * 1024 + 1), 1)), 400)
    assert "no Xet hash" in error(cas.post("/v1/xorbs/default/xyz", content=b""), 400)
    assert "as its address says" in error(cas.post(f"/v1/xorbs/default/{'0' * 64}", content=ONE.body()), 400)
    assert "does not begin with" in error(cas.post("/v1/shards", content=b"x" * 100), 400)
    never = File(((xorb(77, seed=99), 0, 1),))
    assert "never sent here" in error(cas.post("/v1/shards", content=shard([never])), 400)


def test_a_body_announced_too_long_is_refused_before_it_is_sent(cas: httpx.Client):
    head = (f"POST {cas.base_url.path.rstrip('/')}/v1/xorbs/default/{ONE.text} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {cas.headers['authorization']}\r\nContent-Length: {BODY_MAX + 1}\r\n\r\n")
    with socket.create_connection((cas.base_url.host, cas.base_url.port), 10) as line:
        line.sendall(head.encode())
        assert line.recv(100).startswith(b"HTTP/1.1 413")


def test_a_client_gone_mid_body_leaves_nothing(cas: httpx.Client, open_server: HubProcess):
    body = ONE.body()
    head = (f"POST {cas.base_url.path.rstrip('/')}/v1/xorbs/default/{ONE.text} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {cas.headers['authorization']}\r\nContent-Length: {len(body)}\r\n\r\n")
    with socket.create_connection((cas.base_url.host, cas.base_url.port), 10) as line:
        line.sendall(head.encode() + body[:-5])
        wait_for(lambda: list(open_server.data.glob("tmp/xet/*/*/in-*")))
    wait_for(lambda: not list(open_server.data.glob("tmp/xet/*/*/in-*")))
    assert cas.post(f"/v1/xorbs/default/{ONE.text}", content=body).status_code == 200


def test_a_push_of_very_many_files_is_not_put_off_by_the_rate_limit():
    """A client asks once for each file whether its first chunk is known, thousands of times in a few seconds."""

    async def answer(scope: dict, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def statuses(path: str) -> set[int]:
        transport = httpx.ASGITransport(RateLimit(answer, per_minute=60), client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return {(await client.get(path)).status_code for _ in range(200)}

    assert asyncio.run(statuses(f"/api/headwater/xet/{'0' * 16}/v1/chunks/default/{ONE.text}")) == {200}
    assert asyncio.run(statuses("/api/models")) == {200, 429}


def wait_for(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- unmodified clients


PUSH = textwrap.dedent("""
    import hashlib, sys
    from huggingface_hub import HfApi, hf_hub_download
    api = HfApi()
    repo, path = {repo!r}, {path!r}
    api.create_repo(repo, exist_ok=True)
    api.upload_file(repo_id=repo, path_or_fileobj=path, path_in_repo="model.safetensors")
    with open(hf_hub_download(repo, "model.safetensors", force_download=True), "rb") as file:
        print(hashlib.sha256(file.read()).hexdigest())
    for gone in {delete!r}:
        api.delete_repo(gone)
""")


class WatchedHub:
    """The hub of a data folder on a port that stays the same when it restarts; `seen` is each request it got."""

    def __init__(self, data: Path):
        self.data, self.port = data, 0
        self.seen: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._app = open_app(load(self.data, {"sweep_every_s": 0}, environ={}))
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(self._watched, interface="asgi3", log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, args=([listening],))
        self._thread.start()
        wait_for(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    async def _watched(self, scope: dict, receive: object, send: object) -> None:
        if scope["type"] == "http":
            size = dict(scope["headers"]).get(b"content-length", b"0")
            self.seen.append((f"{scope['method']} {scope['path']}", int(size)))
        await self._app.http(scope, receive, send)

    def sweep(self) -> None:
        sweep(self._app.hub, grace_s=0)


class Pusher:
    """A user with one home folder, pushing one file to repos of a hub that may be restarted between."""

    def __init__(self, version: str, folder: Path):
        self.version, self.home, self.path = version, folder / "home", folder / "model.safetensors"
        self.home.mkdir()
        self.hub = WatchedHub(folder / "data")

    def push(self, repo: str, *, delete: tuple[str, ...] = ()) -> tuple[int, int]:
        """Push and pull, then delete repos; (xorbs sent, bytes of them)."""
        self.hub.seen.clear()
        code = PUSH.format(repo=repo, path=str(self.path), delete=delete)
        printed = run_client(self.version, code, self.hub.url, self.home, token="hf_whoever")
        assert hashlib.sha256(self.path.read_bytes()).hexdigest() in printed
        assert sum("/v1/shards" in path for path, _ in self.hub.seen) == 1, "the client did not use the Xet door"
        sizes = [size for path, size in self.hub.seen if "/v1/xorbs/" in path]
        return len(sizes), sum(sizes)


@pytest.fixture(params=VERSIONS)
def pusher(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pusher]:
    made = Pusher(request.param, tmp_path)
    weights = np.random.default_rng(5).standard_normal(2_000_000).astype("<f4") * 0.02
    made.path.write_bytes(weights.tobytes())
    made.hub.start()
    yield made
    made.hub.stop()


def test_a_client_pushes_the_same_file_again_whatever_happened_meanwhile(pusher: Pusher):
    first = pusher.push("local/a")
    assert first[0] >= 1
    # It remembers: only a shard comes, for another repo too, and after a restart.
    assert pusher.push("local/b") == (0, 0)
    pusher.hub.stop()
    pusher.hub.start()
    assert pusher.push("local/c", delete=("local/a", "local/b", "local/c")) == (0, 0)
    # Deleted but not swept: the bytes are still here, and serve.
    assert pusher.push("local/d", delete=("local/d",)) == (0, 0)
    # Swept: what the client remembers is gone, and it must come to no harm for it.
    pusher.hub.sweep()
    assert not list(pusher.hub.data.glob("blobs/??/??/*"))
    assert pusher.push("local/e") == first
    # A part changed: only about that part comes.
    data = bytearray(pusher.path.read_bytes())
    data[3_000_000:3_000_100] = os.urandom(100)
    pusher.path.write_bytes(data)
    count, size = pusher.push("local/e")
    assert count == 1
    assert size < first[1] / 4
    # All that the hub remembered is lost, as after a restored backup: the bytes come again.
    pusher.hub.stop()
    shutil.rmtree(pusher.hub.data / "tmp")
    pusher.hub.start()
    assert pusher.push("local/f")[1] > first[1] / 2


def test_a_client_never_forgets_what_it_sent_to_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Why the address changes (docs/design/002-xet.md): were it to stay, a hub that lost its memory would refuse the
    same push again and again. If this fails, a client has learnt to send what the hub does not know."""
    made = Pusher("2.4.0", tmp_path)
    made.path.write_bytes(np.random.default_rng(6).bytes(3_000_000))
    made.hub.start()
    try:
        assert made.push("local/a")[0] == 1
        for path in made.hub.data.glob("tmp/xet/*/*/*.*"):
            path.unlink()
        with monkeypatch.context() as patched:
            patched.setattr(Generation, "healthy", lambda self: True)
            patched.setattr(Generation, "retire", lambda self: None)
            for _ in range(2):
                with pytest.raises(AssertionError, match="400 Bad Request"):
                    made.push("local/b")
        with pytest.raises(AssertionError, match="400 Bad Request"):
            made.push("local/b")  # this refusal retires the address
        assert made.push("local/b")[0] == 1
    finally:
        made.hub.stop()
