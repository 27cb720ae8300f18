"""/api/headwater/jobs and /api/headwater/imports, on real processes, one of them killed."""

from __future__ import annotations

import os
import time

import httpx
import pytest
from fake_upstream import FakeHub
from server import HubProcess, Team, fresh

CARD = b"---\nlicense: mit\n---\n# Yi\n"


def test_over_http_an_import_is_a_job_that_survives_kill_9(upstream_process_files, tmp_path):
    upstream, files = upstream_process_files
    server = HubProcess(tmp_path / "data", import_endpoint=upstream.url).start()
    try:
        job = httpx.post(f"{server.url}/api/headwater/imports", json={"source": "hf:01-ai/Yi-tiny"}).json()
        assert (job["kind"], job["unit"] or "bytes") == ("import", "bytes")
        wait_until(lambda: upstream.asked("model.bin"))
        wait_until(lambda: [p for p in (tmp_path / "data/tmp").rglob("*.part") if p.stat().st_size > 1_000_000])
        server.kill()
        upstream.gate.set()
        server.start()
        wait_until(lambda: httpx.get(f"{server.url}/api/headwater/jobs/{job['id']}").json()["state"] == "done")
        done = httpx.get(f"{server.url}/api/headwater/jobs/{job['id']}").json()
        assert done["attempts"] == 2 and done["result"]["repo"] == "01-ai/Yi-tiny"
        assert any(headers.get("range") for headers in upstream.asked("model.bin"))
        for path, data in files.items():
            assert httpx.get(f"{server.url}/01-ai/Yi-tiny/resolve/main/{path}").content == data
        assert httpx.get(f"{server.url}/api/headwater/jobs?state=done&kind=import").json()[0]["id"] == job["id"]
        assert httpx.post(f"{server.url}/api/headwater/jobs/{job['id']}/cancel").json()["state"] == "done"
        assert httpx.get(f"{server.url}/api/headwater/jobs/nothing").status_code == 404
    finally:
        server.kill()


@pytest.fixture
def upstream_process_files():
    files = {"README.md": CARD, "model.bin": os.urandom(12_000_000)}
    fake = FakeHub(files)
    whole, fake_file = fake.gate, fake.file

    def slow(to, path):
        if path == "model.bin" and not to.headers.get("range"):
            whole.clear()
        fake_file(to, path)

    fake.file = slow
    yield fake, files
    fake.gate.set()
    fake.server.shutdown()
    fake.server.server_close()


def wait_until(question, seconds=30):
    until = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.05)


def test_over_http_jobs_are_seen_by_who_started_them_and_by_administrators(team_server: Team):
    with team_server.client("alice") as alice, team_server.client("bob") as bob, team_server.client("dora") as dora:
        asked = alice.post("/api/headwater/imports", json={"source": "hf:x/y", "as": f"alice/{fresh()}"})
        assert asked.status_code == 202
        job = asked.json()["id"]
        assert "payload" not in asked.json()
        assert alice.get(f"/api/headwater/jobs/{job}").status_code == 200
        assert dora.get(f"/api/headwater/jobs/{job}").status_code == 200
        assert bob.get(f"/api/headwater/jobs/{job}").status_code == 404
        assert bob.post(f"/api/headwater/jobs/{job}/cancel").status_code == 404
        assert job not in [j["id"] for j in bob.get("/api/headwater/jobs").json()]
        assert alice.post(f"/api/headwater/jobs/{job}/cancel").status_code == 200
        assert alice.post("/api/headwater/imports", json={"source": "/etc"}).status_code == 400
    with team_server.client("alice-read") as reader, team_server.client() as stranger:
        assert reader.post("/api/headwater/imports", json={"source": "hf:x/y"}).status_code == 403
        assert reader.post(f"/api/headwater/jobs/{job}/cancel").status_code == 403
        for path in ("/api/headwater/jobs", f"/api/headwater/jobs/{job}"):
            assert stranger.get(path).status_code == 401
        assert stranger.post("/api/headwater/imports", json={"source": "hf:x/y"}).status_code == 401


def test_the_kinds_of_source_are_listed_with_an_example(open_server):
    sources = httpx.get(f"{open_server.url}/api/headwater/imports").json()
    assert {s["name"]: s["local"] for s in sources} == {"file": True, "folder": True, "hf": False, "pypi": False,
                                                      "shipped": False}
    assert all(s["example"] for s in sources)


def test_at_the_hubs_own_machine_its_owner_adds_a_folder_by_its_path(open_server, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    name = f"local/{fresh()}"
    asked = {"source": str(tmp_path), "as": name}
    job = httpx.post(f"{open_server.url}/api/headwater/imports", json=asked).json()["id"]
    wait_until(lambda: httpx.get(f"{open_server.url}/api/headwater/jobs/{job}").json()["state"] == "done")
    assert httpx.get(f"{open_server.url}/{name}/resolve/main/config.json").content == b"{}"
    relative = httpx.post(f"{open_server.url}/api/headwater/imports", json={"source": "src"})
    assert relative.status_code == 400
    from_afar = httpx.post(f"{open_server.url}/api/headwater/imports", json=asked,
                           headers={"x-forwarded-for": "10.0.0.1"})
    assert from_afar.status_code in (400, 401)
