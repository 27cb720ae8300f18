"""Waiting and hanging up, the same on every face: chat, responses, Anthropic's messages, Ollama's chat."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import httpx
import pytest
from clients import run_model_client
from model_hub import keep, toy
from openai import OpenAI
from server import HubProcess, opened_hub

from headwater.hub.accounts import owner_actor

pytestmark = pytest.mark.xdist_group("faces")  # one hub for the module
ASK = [{"role": "user", "content": "Where does the river run?"}]
FACES = {
    "/v1/chat/completions": {"messages": ASK},
    "/v1/responses": {"input": "Where does the river run?"},
    "/v1/messages": {"messages": ASK, "max_tokens": 100_000},
    "/api/chat": {"messages": ASK},
}
every_face = pytest.mark.parametrize("path", FACES)
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    data = tmp_path_factory.mktemp("faces") / "data"
    with opened_hub(data) as hub:
        for name in ("endless", "other"):
            keep(hub, owner_actor(hub), "local", name, **toy("tick tock ", tokens_per_second=50))
    with HubProcess(data, workers_max=1, worker_slots=1) as server:
        yield server
    assert "Traceback" not in server.tail(), server.tail()


def asked(server, path, stream, model="local/endless"):
    """A request on its way, not read from: (socket, to be closed)."""
    sent = json.dumps({**FACES[path], "model": model, "stream": stream}).encode()
    url = httpx.URL(server.url)
    opened = socket.create_connection((url.host, url.port), 10)
    opened.sendall(b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                   b"Content-Length: %d\r\n\r\n" % (path.encode(), len(sent)) + sent)
    return opened


def until(question, seconds=10.0):
    start = time.monotonic()
    while not question():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - start


def waiting(server):
    return httpx.get(f"{server.url}/api/headwater/chat/queue").json()["yours"]


def loaded(server):
    return httpx.get(f"{server.url}/api/headwater/chat/models").json()


def busy(server):
    return sum(one["busy"] for one in loaded(server))


@contextlib.contextmanager
def talking(server, path="/v1/chat/completions"):
    """A stream under way, which holds the only slot."""
    with httpx.stream("POST", server.url + path, json={**FACES[path], "model": "local/endless", "stream": True},
                      timeout=30) as answer:
        lines = answer.iter_lines()  # kept: an iterator that goes closes the answer
        next(lines)
        yield lines
    until(lambda: busy(server) == 0)


@every_face
@both_modes
def test_hanging_up_in_an_answer_frees_its_slot_within_half_a_second(served, path, stream):
    one = asked(served, path, stream)
    until(lambda: busy(served) == 1 and not waiting(served))
    time.sleep(0.2)
    one.close()
    assert until(lambda: busy(served) == 0) < 0.5


@every_face
@both_modes
def test_hanging_up_in_the_queue_gives_the_place_back_within_half_a_second(served, path, stream):
    with talking(served):
        one = asked(served, path, stream)
        until(lambda: len(waiting(served)) == 1)
        one.close()
        assert until(lambda: not waiting(served)) < 0.5
        assert busy(served) == 1, "the one that talks goes on"


@every_face
def test_hanging_up_while_the_model_loads_stops_the_loading(served, path):
    until(lambda: busy(served) == 0)
    for model in loaded(served):
        httpx.post(f"{served.url}/api/headwater/chat/models/{model['model']}/unload")
    until(lambda: not loaded(served))
    one = asked(served, path, stream=False, model="local/other")
    until(lambda: [place["waits_for"] for place in waiting(served)] == ["loading"])
    one.close()
    assert until(lambda: not waiting(served)) < 0.5
    until(lambda: not loaded(served))


@every_face
def test_a_stream_that_waits_is_told_its_place_at_once(served, path):
    told = '"queue": 1' if path == "/api/chat" else ": headwater.queue 1"
    with talking(served), httpx.stream("POST", served.url + path, timeout=30, json={
            **FACES[path], "model": "local/endless", "stream": True}) as second:
        assert second.status_code == 200
        assert told in next(second.iter_lines())


@every_face
def test_an_answer_sent_whole_says_which_place_it_had(served, path):
    short = {"/v1/messages": {"max_tokens": 1}, "/v1/responses": {"max_output_tokens": 1},
             "/api/chat": {"options": {"num_predict": 1}}}.get(path, {"max_tokens": 1})
    one = asked(served, "/v1/chat/completions", True)
    until(lambda: busy(served) == 1 and not waiting(served))
    with httpx.Client(timeout=30) as client:
        threading.Timer(1.6, one.close).start()
        answer = client.post(served.url + path, json={
            **FACES[path], "model": "local/endless", "stream": False, **short})
    assert answer.status_code == 200 and answer.headers["x-headwater-queue"] == "1"


def test_the_official_clients_pass_over_the_places_they_are_told(served):
    """Each asks while another talks, which ends two seconds later."""
    def behind(ask):
        one = asked(served, "/v1/chat/completions", True)
        until(lambda: busy(served) == 1 and not waiting(served))
        threading.Timer(2.0, one.close).start()
        return ask()

    with OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0, timeout=30) as client:
        events = behind(lambda: list(client.responses.create(model="local/endless", input="x", stream=True,
                                                             max_output_tokens=2)))
        assert events[0].type == "response.created" and events[-1].type == "response.incomplete"
    said = behind(lambda: run_model_client("""
import sys, anthropic
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="any", max_retries=0, timeout=30)
with client.messages.stream(model="local/endless", max_tokens=2, messages=[{"role": "user", "content": "x"}]) as stream:
    print("".join(stream.text_stream))
""", served.url))
    assert said.strip()
    said = behind(lambda: run_model_client("""
import sys, ollama
for part in ollama.Client(sys.argv[1]).chat("local/endless", [{"role": "user", "content": "x"}], stream=True,
                                            options={"num_predict": 2}):
    print(part.message.content, end="")
""", served.url))
    assert said.strip()
