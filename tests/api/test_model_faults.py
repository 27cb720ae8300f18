"""What may go wrong around a talk: half requests, giant prompts, hostile templates, wrong types, curious neighbours.

After each, the hub and its workers answer as before. docs/faults-and-attacks.md (U) names these and the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from model_hub import SMOLLM2, keep, toy
from real_models import smollm2_gguf
from server import HubProcess, opened_hub

from headwater.core.types import Access, Actor
from headwater.hub.accounts import create_user, issue_token, owner_actor, set_password

pytestmark = pytest.mark.xdist_group("model faults")  # one hub for the module
MORE = int(os.environ.get("HEADWATER_EXAMPLES", "1"))  # make soak asks many times as many
ASK = [{"role": "user", "content": "Where does the river run?"}]
ENDLESS_TEMPLATE = b"{% for a in range(99999999) %}{% for b in range(99999999) %}x{% endfor %}{% endfor %}"
FACES = {
    "/v1/chat/completions": {"messages": ASK, "max_tokens": 2}, "/v1/completions": {"prompt": "The", "max_tokens": 2},
    "/v1/responses": {"input": "Where?", "max_output_tokens": 2},
    "/v1/responses/input_tokens": {"input": "Where?"},
    "/v1/messages": {"messages": ASK, "max_tokens": 2}, "/v1/messages/count_tokens": {"messages": ASK},
    "/v1/embeddings": {"input": "x"}, "/v1/rerank": {"query": "x", "documents": ["y"]},
    "/api/chat": {"messages": ASK, "stream": False, "options": {"num_predict": 2}},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(hub, tokens of ann and bob)"""
    data = tmp_path_factory.mktemp("faults") / "data"
    with opened_hub(data) as hub:
        owner = owner_actor(hub)
        people = {name: Actor(create_user(hub, owner, name, "a long password"), Access.ADMIN)
                  for name in ("ann", "bob")}
        keep(hub, owner, "local", "river", **toy())
        keep(hub, people["ann"], "ann", "endless", private=True, **toy("tick tock ", tokens_per_second=50))
        keep(hub, owner, "local", "smollm2", **{SMOLLM2: smollm2_gguf().read_bytes()})
        keep(hub, owner, "local", "hostile", **{SMOLLM2: smollm2_gguf().read_bytes(),
                                                "chat_template__jinja": ENDLESS_TEMPLATE})
        tokens = {name: issue_token(hub, person, "tests")[0] for name, person in people.items()}
        set_password(hub, owner, owner.name, "a long password")
    with HubProcess(data, workers_max=3, worker_threads=1, worker_slots=1, chat_context=1024, worker_start_s=12,
                    worker_silence_s=15) as server:
        yield server, tokens
    assert "Traceback" not in server.tail(), server.tail()


def client(served, who="ann"):
    return httpx.Client(base_url=served[0].url, timeout=90, headers={"authorization": f"Bearer {served[1][who]}"})


def talks(served, model="local/river"):
    with client(served, "bob") as bob:
        said = bob.post("/v1/chat/completions", json={"model": model, "messages": ASK, "max_tokens": 3})
    assert said.status_code == 200, said.text
    return True


@pytest.mark.parametrize("path", FACES)
def test_half_a_request_and_one_that_never_ends_keep_nobody_waiting(served, path):
    sent = json.dumps({"model": "local/river", **FACES[path]}).encode()
    url = httpx.URL(served[0].url)
    with contextlib.ExitStack() as held:
        for shown, closed in ((sent[:20], True), (sent[:-1], False), (b"", False)):
            wire = socket.create_connection((url.host, url.port), 10)
            wire.sendall(b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: "
                         b"application/json\r\nContent-Length: %d\r\n\r\n" % (
                             path.encode(), served[1]["ann"].encode(), len(sent)) + shown)
            if closed:
                wire.close()
            else:
                held.callback(wire.close)
        start = time.monotonic()
        assert talks(served) and time.monotonic() - start < 10


def test_a_prompt_of_four_megabytes_is_refused_and_the_worker_lives(served):
    assert talks(served, "local/smollm2")
    large = "wide river " * 400_000
    with client(served) as ann:
        before = ann.get("/v1/models/local/smollm2").json()["headwater"]["loaded"]
        said = ann.post("/v1/chat/completions", json={"model": "local/smollm2", "messages": [
            {"role": "user", "content": large}]})
        assert said.status_code == 400 and "context" in said.text.lower(), (said.status_code, said.text[:300])
        assert before["state"] == ann.get("/v1/models/local/smollm2").json()["headwater"]["loaded"]["state"] == "ready"
    assert talks(served, "local/smollm2") and talks(served)


def test_a_template_that_never_ends_is_stopped_and_the_others_go_on(served):
    start = time.monotonic()
    with client(served) as ann:
        said = ann.post("/v1/chat/completions", json={"model": "local/hostile", "messages": ASK, "max_tokens": 2})
    assert 400 <= said.status_code < 600 and said.json()["error"]["message"], said.text
    assert time.monotonic() - start < 60
    for secret in (served[1]["ann"], "HEADWATER_WORKER_KEY", str(served[0].data)):
        assert secret not in said.text, "an error says neither keys nor paths of the hub"
    assert talks(served)


WRONG = (None, True, -1, 1.5, 10**30, "", "\x00", [], [None], [[]], {}, {"type": 5}, {"type": "json_schema"})


@pytest.mark.parametrize("path", FACES)
def test_a_wrong_type_in_any_field_is_an_error_of_the_client_in_its_own_form(served, path):
    with client(served) as ann:
        described = ann.get("/openapi.json").json()["paths"][path]["post"]["requestBody"]["content"]
        fields = described["application/json"]["schema"]["properties"]
        assert "model" in fields
        for field in fields:
            for value in WRONG:
                body = {"model": "local/river", **FACES[path], field: value}
                said = ann.post(path, json=body)
                assert said.status_code < 500, (field, value, said.text)
                if said.status_code >= 400:
                    told = said.json()["error"]
                    assert told if path == "/api/chat" else told["message"], (field, value)
        deep = "[" * 100_000
        for raw in (b"", b"\xff\xfe", b"null", b"[]", f'{{"model": {deep}'.encode(), b'{"model": "local/river"'):
            assert ann.post(path, content=raw).status_code == 400
    assert talks(served)


def test_neighbours_see_nothing_of_each_others_talks(served):
    with client(served) as ann, client(served, "bob") as bob:
        alone = {"model": "local/smollm2", "temperature": 0, "max_tokens": 12, "logprobs": True,
                 "messages": [{"role": "user", "content": "My secret word is"}]}
        before = bob.post("/v1/chat/completions", json=alone).json()["choices"][0]
        ann.post("/v1/chat/completions", json={**alone, "messages": [
            {"role": "user", "content": "My secret word is xylophone-7. Remember it."}]})
        after = bob.post("/v1/chat/completions", json=alone).json()["choices"][0]
        assert after["message"] == before["message"] and "xylophone" not in json.dumps(after)
        # a private model of ann: neither its name, nor that it is loaded, nor who waits for it
        with ann.stream("POST", "/v1/chat/completions", json={
                "model": "ann/endless", "messages": ASK, "stream": True}) as stream:
            lines = stream.iter_lines()
            next(lines)
            seen = [bob.get(path).text for path in (
                "/v1/models", "/api/headwater/chat/queue", "/metrics", "/api/tags", "/api/headwater/chat/quota")]
            assert not [text for text in seen if "endless" in text or '"ann"' in text]
            assert bob.get("/api/headwater/chat/models").status_code == 403
        missing = bob.post("/v1/chat/completions", json={"model": "ann/endless", "messages": ASK})
        nothing = bob.post("/v1/chat/completions", json={"model": "ann/nothing", "messages": ASK})
        assert missing.status_code == nothing.status_code == 404
        assert missing.text.replace("endless", "nothing") == nothing.text


def crash_of(api, headers):
    """What schemathesis made of one operation that the hub did not answer for; None if it did for all."""
    crashed = []

    @settings(max_examples=2 * MORE, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=api.as_strategy())
    def ask(case):
        for model in (None, "local/river"):
            if model and isinstance(case.body, dict):
                case.body = {**case.body, "model": model, "background": False}
            answer = case.call(headers=headers, timeout=30)
            if answer.status_code >= 500 and answer.status_code != 501:
                crashed.append(f"{answer.status_code} {answer.text[:200]} {case.as_curl_command()[:600]}")

    ask()
    return crashed[0] if crashed else None


@pytest.mark.slow
def test_no_request_the_description_of_v1_allows_crashes_the_hub(served):
    """Schemathesis makes the requests; half of them name a model that answers at once."""
    described = schemathesis.openapi.from_url(served[0].url + "/openapi.json").include(
        path_regex=r"^/(v1/|api/(chat|generate|show|tags)$)").exclude(path_regex=r"^/v1/(videos|files)")
    headers = {"authorization": f"Bearer {served[1]['ann']}"}
    apis = [operation.ok() for operation in described.get_all_operations()]
    assert len(apis) > 10
    assert {api.label: crash for api in apis if (crash := crash_of(api, headers))} == {}
    assert talks(served)
