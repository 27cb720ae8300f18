"""Waiting for a turn, seen by clients: places told in streams and by the API, and hang-ups that free them."""

import contextlib
import json
import socket
import time

import httpx
import pytest
from model_hub import keep, toy
from prometheus_client.parser import text_string_to_metric_families
from server import HubProcess, opened_hub

from headwater.hub.accounts import owner_actor

ASK = [{"role": "user", "content": "Where does the river run?"}]
pytestmark = pytest.mark.xdist_group("chat queue")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    data = tmp_path_factory.mktemp("queue") / "data"
    with opened_hub(data) as hub:
        keep(hub, owner_actor(hub), "local", "endless", **toy("tick tock ", tokens_per_second=50))
        keep(hub, owner_actor(hub), "local", "other", **toy("tick tock ", tokens_per_second=50))
    with HubProcess(data, workers_max=1, worker_slots=1, chat_queue_max=3) as server:
        yield server
    assert "Traceback" not in server.tail(), server.tail()


def body(stream=True, model="local/endless", **fields):
    return {"model": model, "messages": ASK, "stream": stream, **fields}


def waiting(server):
    return httpx.get(f"{server.url}/api/headwater/chat/queue").json()


def until(question, seconds=10.0):
    start = time.monotonic()
    while not question():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - start


@contextlib.contextmanager
def talking(server, **fields):
    """A stream under way, which holds the only slot."""
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body(**fields), timeout=30) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if line.startswith("data:"))
        yield lines


def asked(server, **fields):
    """A request on its way, not read from: (socket, to be closed)."""
    sent = json.dumps(body(**fields)).encode()
    url = httpx.URL(server.url)
    opened = socket.create_connection((url.host, url.port))
    opened.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                   b"Content-Length: %d\r\n\r\n" % len(sent) + sent)
    return opened


def test_who_waits_is_told_the_place_by_the_queue(served):
    with talking(served), contextlib.closing(asked(served)):
        until(lambda: waiting(served)["waiting"] == 1)
        [place] = waiting(served)["yours"]
        assert (place["position"], place["waits_for"], place["account"]) == (1, "turn", "local")
        assert place["model"].startswith("local/endless@")
    until(lambda: waiting(served)["waiting"] == 0)


def test_a_stream_that_waits_is_told_its_place_in_comments_and_then_answered(served):
    with talking(served), httpx.stream("POST", f"{served.url}/v1/chat/completions", json=body(max_tokens=2),
                                       timeout=30) as second:
        lines = second.iter_lines()
        assert next(lines) == ": headwater.queue 1"
        assert second.status_code == 200 and second.headers["content-type"].startswith("text/event-stream")
        [place] = waiting(served)["yours"]
        assert place["position"] == 1 and place["waits_for"] == "turn" and place["waited_s"] >= 1
        assert place["model"].startswith("local/endless@")
    until(lambda: waiting(served)["waiting"] == 0)


def test_who_waits_is_answered_when_the_slot_is_free(served):
    with contextlib.ExitStack() as first:
        first.enter_context(talking(served))
        with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=body(max_tokens=2), timeout=30) as second:
            lines = second.iter_lines()
            assert next(lines).startswith(": headwater.queue")
            first.close()
            assert [line for line in lines if line][-1] == "data: [DONE]"


@pytest.mark.parametrize("stream", [True, False])
def test_hanging_up_while_queued_gives_the_place_back_within_half_a_second(served, stream):
    with talking(served):
        sockets = [asked(served, stream=stream) for _ in range(2)]
        until(lambda: waiting(served)["waiting"] == 2)
        for one in sockets:
            one.close()
        assert until(lambda: waiting(served)["waiting"] == 0) < 0.5


@pytest.mark.parametrize("stream", [True, False])
def test_hanging_up_while_waiting_for_room_gives_the_place_back_within_half_a_second(served, stream):
    with talking(served):
        one = asked(served, stream=stream, model="local/other")
        until(lambda: waiting(served)["waiting"] == 1)
        assert waiting(served)["yours"][0]["waits_for"] == "room"
        one.close()
        assert until(lambda: waiting(served)["waiting"] == 0) < 0.5


def test_a_full_queue_says_when_to_come_back(served):
    with talking(served), contextlib.ExitStack() as held:
        for _ in range(3):
            held.callback(asked(served).close)
        until(lambda: waiting(served)["waiting"] == 3)
        refused = httpx.post(f"{served.url}/v1/chat/completions", json=body())
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert "3 requests wait" in refused.json()["error"]["message"]
        held.close()
        until(lambda: waiting(served)["waiting"] == 0)


def test_models_are_pinned_seen_and_unloaded_by_hand(served):
    url = f"{served.url}/api/headwater/chat/models"
    assert httpx.post(f"{url}/local/other/pin", timeout=30).json()["done"]
    [one] = httpx.get(url).json()
    assert one["model"].startswith("local/other@") and one["pinned"] and one["state"] == "ready"
    assert one["slots"] == 1 and one["memory_bytes"] > 1_000_000
    with talking(served, model="local/other"):
        assert httpx.post(f"{url}/local/other/unload").status_code == 409
    assert httpx.post(f"{url}/local/other/unpin").json()["done"]
    until(lambda: httpx.post(f"{url}/local/other/unload").json().get("done") is True)
    until(lambda: httpx.get(url).json() == [])
    assert httpx.post(f"{url}/local/other/unload").json()["done"] is False
    assert httpx.post(f"{url}/local/nothing/pin").status_code == 404


def test_metrics_are_read_by_prometheus_on_loopback_alone_without_a_token(served):
    answer = httpx.get(f"{served.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"headwater_chat_requests", "headwater_chat_first_token_seconds", "headwater_chat_waiting"} <= names
    assert "local/endless" not in answer.text, "the name of a model may be private"
    assert httpx.get(f"{served.url}/metrics", headers={"X-Forwarded-For": "10.0.0.9"}).status_code == 401
