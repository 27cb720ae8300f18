"""/api/headwater/engines: what runs models here, builds and forms. For administrators; nothing of it in a backup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from llama_made import llama_gguf
from model_hub import keep, model_hub
from server import Team, opened_hub

from headwater.chat import form
from headwater.core.processor import processor
from headwater.core.types import Kind
from headwater.engines import _build, _native
from headwater.hub.accounts import owner_actor
from headwater.hub.backup import backup
from headwater.hub.sweep import sweep
from headwater.storage.database import Database, open_engine
from headwater.storage.dump import SqlArchive

API = "/api/headwater/engines"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A hub with a tiny Llama, a build for another processor, and one for this that is there already."""
    data = tmp_path_factory.mktemp("engines") / "data"
    llama_gguf(data.parent / "tiny.gguf")
    for name, where in (("other", "riscv-1"), (f"llamacpp-{_build.LLAMA_CPP.build}-{processor()}", processor())):
        made = data / "made"
        made.mkdir(parents=True)
        (made / _native.LIBRARY).write_bytes(b"")
        _native.keep(data, made, _native.Native(name, "11434", "small 1.0", "0" * 64, where, "c++", 7, 1.0))
    with model_hub(data, {"tiny": {"tiny__gguf": (data.parent / "tiny.gguf").read_bytes()}}, real=False,
                   llamacpp_build="wheel") as (server, _), httpx.Client(base_url=server.url, timeout=60) as client:
        yield client, data


def seen_through(client: httpx.Client, answer: httpx.Response) -> dict:
    job = answer.raise_for_status().json()
    for _ in range(600):
        if job["state"] in ("done", "failed", "cancelled"):
            break
        time.sleep(0.1)
        job = client.get(f"/api/headwater/jobs/{job['id']}").json()
    assert job["state"] == "done", job
    return job["result"]


def test_only_administrators_see_and_change_engines(team_server: Team) -> None:
    calls = (("GET", ""), ("POST", "/builds"), ("DELETE", "/builds/x"), ("POST", "/forms"), ("GET", "/forms/a/b"),
             ("DELETE", "/forms/a/b"))
    for who, codes in (("alice", {403}), (None, {401, 403})):
        with team_server.client(who) as client:
            for method, path in calls:
                body = {"model": "alice/yi"} if (method, path) == ("POST", "/forms") else None
                assert client.request(method, API + path, json=body).status_code in codes, (who, method, path)
    with team_server.client("dora") as client:
        assert {"llamacpp", "markov"} <= {one["name"] for one in client.get(API).json()}
        assert client.delete(f"{API}/builds/..%2Fx").status_code == client.delete(f"{API}/builds/x").status_code == 404
        assert client.get(f"{API}/forms/alice/none").status_code == 404


def test_a_build_is_listed_answered_when_it_is_there_and_removed(served: tuple[httpx.Client, Path]) -> None:
    client, data = served
    listed = {one["name"]: one for one in client.get(API).json()}
    assert listed["other"]["problem"] == "it is compiled for another processor" and not listed["other"]["usable"]
    assert listed["llamacpp"]["chosen"] and not listed["llamacpp"]["removable"]
    made = seen_through(client, client.post(f"{API}/builds"))
    assert listed[made["name"]]["usable"] and not listed[made["name"]]["chosen"], "llamacpp_build is wheel here"
    assert client.delete(f"{API}/builds/other").json()["name"] == "other"
    assert not (data / "engines" / "other").exists() and client.delete(f"{API}/builds/other").status_code == 404


def test_a_form_is_probed_shown_and_forgotten(served: tuple[httpx.Client, Path]) -> None:
    client, data = served
    assert client.get(f"{API}/forms/local/tiny").json() == []
    found = seen_through(client, client.post(f"{API}/forms", json={"model": "local/tiny", "smaller": True}))
    assert found["trials"][0]["form"] == "as stored"
    (shown,) = client.get(f"{API}/forms/local/tiny").json()
    assert shown["trials"] == found["trials"] and shown["processor"] == processor()
    assert client.delete(f"{API}/forms/local/tiny").json() == {"model": "local/tiny", "done": True}
    assert list((data / "forms").iterdir()) == [] and client.get(f"{API}/forms/local/tiny").json() == []
    assert client.delete(f"{API}/forms/local/tiny").json()["done"] is False


def test_forms_and_prompts_go_with_their_file_and_are_in_no_backup(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened_hub(data) as hub:
        actor = owner_actor(hub)
        keep(hub, actor, "local", "tiny", model__gguf=b"GGUF" + b"x" * 3_000_000)
        (digest,) = (digest for digest, size in hub.holdings.all() if size > 3_000_000)
        form.decide(hub.settings, digest, "b1", {"form": "Q8_0"})
        prompts = data / "prompts" / digest / "here"
        prompts.mkdir(parents=True)
        for path in (form.folder_of(hub.settings, digest) / "Q8_0.gguf", prompts / "slot-0"):
            path.write_bytes(b"words of a conversation")
        engine = open_engine(None, data)
        backup(hub, SqlArchive(Database(engine, time.time)), tmp_path / "kept")
        engine.dispose()
        kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
        assert kept and not any(b"words of a conversation" in path.read_bytes() for path in kept)
        sweep(hub, grace_s=0)
        assert (prompts / "slot-0").is_file() and form.verdicts(hub.settings, digest), "their file is there"
        hub.repos.delete(hub.repos.find(Kind.MODEL, "local", "tiny"), by=actor)
        sweep(hub, grace_s=0)
        sweep(hub, grace_s=0)
        assert not (data / "forms" / digest).exists() and not (data / "prompts" / digest).exists()
