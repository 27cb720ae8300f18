"""The worker contract of docs/recipes/add-an-engine.md, held by every engine on the shelf.

Each engine runs its sample model for real, in the process it would have in a hub.
"""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest
from engine_samples import KEY, SAMPLES, argv_for, bare_worker, free_port

from headwater.chat.process import environment
from headwater.core.engine import ChatEngine
from headwater.engines import ENGINES

pytestmark = pytest.mark.xdist_group("engines")  # one worker of each engine for the module
ASK = [{"role": "system", "content": "You are a helpful assistant."},
       {"role": "user", "content": "What is the capital of France?"}]


def wait_for(question, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {question}")


def healthy(client):
    try:
        return client.get("/health").status_code == 200
    except httpx.ConnectError:
        return False


def busy(client):
    return sum(slot["is_processing"] for slot in client.get("/slots").json())


def ask(client, **fields):
    return client.post("/v1/chat/completions", json={"messages": ASK, **fields})


def stream(client, **fields):
    """(text, last finish_reason, usage, number of events) of a streamed answer."""
    text, reason, usage, count = "", None, None, 0
    body = {"messages": ASK, "stream": True, "stream_options": {"include_usage": True}, **fields}
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        event = json.loads(line[6:])
        count += 1
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            reason = choice["finish_reason"] or reason
    return text, reason, usage, count


@pytest.fixture(scope="module", params=ENGINES.names())
def engine(request) -> ChatEngine:
    engine = ENGINES[request.param]
    assert engine.name in SAMPLES, f"tests/engine_samples.py wants a sample for the engine {engine.name!r}"
    if why := engine.available():
        pytest.skip(why)
    return engine


@pytest.fixture(scope="module")
def worker(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp(engine.name) / "model"
    SAMPLES[engine.name].make(folder)
    with bare_worker(engine.name, folder) as (process, client):
        wait_for(lambda: healthy(client), SAMPLES[engine.name].starts_s)
        yield client
        assert process.poll() is None, "the worker died during the tests"


def test_no_engine_on_the_shelf_is_broken():
    assert ENGINES.broken == {}
    assert ENGINES.names() == sorted(engine.name for engine in ENGINES)


def test_an_engine_says_what_it_is_without_starting_anything(engine):
    assert engine.build() and engine.slots >= 1
    assert engine.accepts(["README.md", "notes/a.txt"]) is None
    assert engine.accepts([]) is None


def test_the_wrong_key_is_refused_and_health_needs_none(worker):
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}, {"Authorization": f"Bearer {KEY}x"}):
        assert worker.get("/health", headers=headers).status_code == 200
        assert worker.get("/slots", headers=headers).status_code == 401
        assert worker.post("/v1/chat/completions", json={"messages": ASK}, headers=headers).status_code == 401


def test_a_stream_and_a_whole_answer_say_the_same(worker):
    text, reason, usage, events = stream(worker, seed=7, temperature=0, max_tokens=8)
    whole = ask(worker, seed=7, temperature=0, max_tokens=8).json()
    assert text and whole["choices"][0]["message"]["content"] == text
    assert whole["choices"][0]["finish_reason"] == reason
    assert events > usage["completion_tokens"] / 2, "tokens must be told as they come"


def test_max_tokens_ends_the_answer_and_usage_counts_it(worker):
    _, reason, usage, _ = stream(worker, seed=7, max_tokens=3)
    assert reason == "length"
    assert usage["completion_tokens"] == 3
    assert usage["prompt_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + 3


def test_the_model_ends_its_answer_by_itself(worker):
    _, reason, usage, _ = stream(worker, seed=7, temperature=0, max_tokens=200)
    assert reason == "stop" and usage["completion_tokens"] < 200


def test_a_stop_string_ends_the_answer_and_is_not_said(worker):
    text, *_ = stream(worker, seed=7, temperature=0, max_tokens=40)
    at = len(text) // 2
    stop = text[at:at + 3]
    shorter, reason, *_ = stream(worker, seed=7, temperature=0, max_tokens=40, stop=[stop, "never said"])
    assert shorter == text[:text.index(stop)]
    assert reason == "stop"


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(worker):
    answers = [stream(worker, seed=seed, temperature=1.5, max_tokens=30)[0] for seed in (11, 11, 12, 13, 14, 15)]
    assert answers[0] == answers[1]
    assert len(set(answers)) > 1


def test_a_request_that_makes_no_sense_is_refused_and_the_worker_lives(worker):
    for body in (b"{", b"[]", b'{"messages": "hello"}', b'{"messages": [{"role": "user"}]}'):
        assert worker.post("/v1/chat/completions", content=body).status_code in (400, 500), body
    assert healthy(worker)


def test_characters_of_several_bytes_come_whole(worker):
    for seed in range(4):
        text, *_ = stream(worker, seed=seed, temperature=1.0, max_tokens=40,
                          messages=[{"role": "user", "content": "用中文和表情符号回答 🌊🏞️"}])
        assert "\ufffd" not in text


def test_hanging_up_stops_the_computing(engine, tmp_path):
    SAMPLES[engine.name].endless(tmp_path / "model")
    with bare_worker(engine.name, tmp_path / "model") as (_, client):
        wait_for(lambda: healthy(client), SAMPLES[engine.name].starts_s)
        assert min(_freed_after(client) for _ in range(3)) < 0.5, "other work may delay one of three, not all"


def _freed_after(client):
    body = {"messages": ASK, "stream": True, "max_tokens": 900, "temperature": 1.5, "ignore_eos": True}
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        wait_for(lambda: busy(client) == 1, 5)
    left = time.monotonic()
    wait_for(lambda: busy(client) == 0, 20)
    return time.monotonic() - left


def test_a_worker_ends_when_the_process_that_started_it_is_killed(engine, tmp_path):
    SAMPLES[engine.name].make(tmp_path / "model")
    argv = argv_for(engine.name, tmp_path / "model", free_port())
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys, time\n"
         "p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
         "print(p.pid, flush=True)\ntime.sleep(600)", *argv],
        stdout=subprocess.PIPE, env=environment(KEY))
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(1)
    assert child.is_running()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)


def test_a_broken_file_ends_the_worker_with_a_last_line_that_names_it(engine, tmp_path):
    SAMPLES[engine.name].spoil(tmp_path / "model")
    with bare_worker(engine.name, tmp_path / "model") as (process, _):
        assert process.wait(20) != 0
    last = (tmp_path / "worker.log").read_text().strip().splitlines()[-1]
    assert any(name in last for name in os.listdir(tmp_path / "model")), last


def test_a_worker_without_a_key_does_not_start(engine, tmp_path):
    SAMPLES[engine.name].make(tmp_path / "model")
    keyless = {name: value for name, value in environment(KEY).items() if value != KEY}
    done = subprocess.run(argv_for(engine.name, tmp_path / "model", free_port()), stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, env=keyless, timeout=20)
    assert done.returncode != 0 and b"HEADWATER_WORKER_KEY" in done.stderr
