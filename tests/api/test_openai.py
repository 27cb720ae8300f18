"""The official `openai` client against a hub process: models, chat, streams, errors, hang-ups.

What the engine does meanwhile is asked of the worker itself, by its /slots.
"""

import contextlib
import json
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import psutil
import pytest
from model_hub import keep, toy
from openai import OpenAI
from real_models import smollm2_gguf
from server import HubProcess, make_team, opened_hub

from headwater.core.types import Access, Actor, Kind
from headwater.engines import ENGINES
from headwater.hub import repos
from headwater.hub.accounts import owner_actor
from headwater.hub.commit import Add, commit

ASK = [{"role": "user", "content": "Where does the river run?"}]
pytestmark = pytest.mark.xdist_group("openai")  # one hub for the module
QUEUE = 6
PARIS = [{"role": "system", "content": "You are a helpful assistant."},
         {"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(hub process, revisions by model name)"""
    data = tmp_path_factory.mktemp("openai") / "data"
    with opened_hub(data) as hub:
        local = owner_actor(hub)
        revisions = {
            "local/river": keep(hub, local, "local", "river", README__md=b"---\nlicense: mit\n---\nA toy.", **toy()),
            "local/endless": keep(hub, local, "local", "endless", **toy("tick tock ", tokens_per_second=100)),
            "local/fast": keep(hub, local, "local", "fast", **toy("tick tock " * 50)),
            "local/broken": keep(hub, local, "local", "broken", model__gguf=b"GGUF" + bytes(50)),
            "local/words": keep(hub, local, "local", "words", README__md=b"No model."),
            "local/smollm2": keep(hub, local, "local", "smollm2",
                                  **{"SmolLM2-135M-Instruct__Q4_1__gguf": smollm2_gguf().read_bytes()}),
        }
        river = hub.repos.find(Kind.MODEL, "local", "river")
        repos.create_tag(hub, local, river, "v1")
        revisions["local/river@v1"] = revisions["local/river"]
        revisions["local/river"] = commit(hub, local, river, "main", [Add("corpus.txt", b"New words only.")],
                                          title="new words").oid
    with HubProcess(data, workers_max=3, worker_threads=1, chat_context=2048, chat_queue_max=QUEUE) as server:
        yield server, revisions
    assert "Traceback" not in server.tail(), server.tail()


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served[0].url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def worker_process(server, engine="markov", model=""):
    [worker] = [p for p in psutil.Process(server.process.pid).children(recursive=True)
                if f"headwater.engines.{engine}" in p.cmdline() and model in " ".join(p.cmdline())]
    return worker


@contextlib.contextmanager
def worker_of(server, engine="markov", model=""):
    """Ask one worker of the hub: yields busy() -> requests it computes now."""
    worker = worker_process(server, engine, model)
    argv, key = worker.cmdline(), worker.environ()["HEADWATER_WORKER_KEY"]
    url = f"http://127.0.0.1:{argv[argv.index('--port') + 1]}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}", "Connection": "close"}) as asking:
        yield lambda: sum(slot["is_processing"] for slot in asking.get("/slots").json())


def until(question, seconds=10):
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if question():
            return time.monotonic() - start
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


# --- models


def test_models_that_can_be_talked_to_are_listed_with_their_revisions(served, client):
    listed = {model.id: model for model in client.models.list()}
    assert set(listed) == {"local/river", "local/endless", "local/fast", "local/broken", "local/smollm2"}
    river = listed["local/river"]
    assert (river.object, river.owned_by) == ("model", "local")
    said = river.headwater
    assert said.pop("size_bytes") > 0 and said.pop("loaded", 0) != 0
    assert said == {
        "repo": "local/river", "revision": served[1]["local/river"], "engine": "markov", "build": "markov 1",
        "file": "corpus.txt", "license": "mit", "modalities": ["text"], "context_length": None, "template": None,
        "parameters": None, "lineage": None}
    real = listed["local/smollm2"].headwater
    assert real["file"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert (real["context_length"], real["parameters"], real["template"]) == (
        8192, 134_515_008, "SmolLM2-135M-Instruct.Q4_1.gguf")


def test_one_model_is_found_by_name_branch_tag_and_commit(served, client):
    revisions = served[1]
    assert client.models.retrieve("local/river").headwater["revision"] == revisions["local/river"]
    for name in ("main", "v1", revisions["local/river@v1"], revisions["local/river@v1"][:10]):
        found = client.models.retrieve(f"local/river@{name}")
        wanted = revisions["local/river" if name == "main" else "local/river@v1"]
        assert (found.id, found.headwater["revision"]) == (f"local/river@{name}", wanted)
    plain = httpx.get(f"{served[0].url}/v1/models/local/river")
    assert plain.json()["id"] == "local/river"


def test_a_model_says_whether_it_is_loaded_and_where_it_comes_from_as_far_as_is_known(served, client):
    client.chat.completions.create(model="local/river", messages=ASK, max_tokens=1)
    said = client.models.retrieve("local/river").headwater
    assert said["loaded"]["state"] == "ready" and said["loaded"]["pinned"] is False
    assert said["loaded"]["memory_bytes"] > 1e6 and said["loaded"]["context"] > 0
    assert said["lineage"]["state"] in ("not-yet-read", "no-weights") and said["lineage"]["closest"] is None
    assert client.models.retrieve("local/smollm2").headwater["lineage"]["state"] in (
        "not-yet-read", "waiting", "reading", "read")


# --- answers


def test_an_answer_names_the_revision_that_spoke_and_can_be_asked_for_again(served, client):
    raw = client.chat.completions.with_raw_response.create(model="local/river@v1", messages=ASK)
    answer, revision = raw.parse(), served[1]["local/river@v1"]
    said = answer.headwater
    assert said["repo"] == "local/river" and said["revision"] == revision
    assert (said["engine"], said["build"], said["file"]) == ("markov", "markov 1", "corpus.txt")
    assert raw.headers["x-headwater-revision"] == revision and raw.headers["x-headwater-engine"] == "markov"
    assert answer.model == f"local/river@{revision}" and answer.choices[0].finish_reason == "stop"
    again = client.chat.completions.create(model=answer.model, messages=ASK, seed=said["seed"])
    assert again.choices[0].message.content == answer.choices[0].message.content


def test_a_name_without_revision_speaks_from_main(client):
    answer = client.chat.completions.create(model="local/river", messages=ASK)
    assert answer.choices[0].message.content == "New words only."


def test_a_stream_says_the_same_and_counts_when_asked(served, client):
    whole = client.chat.completions.create(model="local/river@v1", messages=ASK, seed=5)
    raw = client.chat.completions.with_raw_response.create(
        model="local/river@v1", messages=ASK, seed=5, stream=True, stream_options={"include_usage": True})
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.headers["x-headwater-revision"] == served[1]["local/river@v1"]
    chunks = list(raw.parse())
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].headwater == chunks[-2].headwater == whole.headwater
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_is_not_streamed_unless_asked_for(client):
    chunks = list(client.chat.completions.create(model="local/river", messages=ASK, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_seed_stop_and_limits_are_honoured(client):
    def ask(**fields):
        return client.chat.completions.create(model="local/river@v1", messages=ASK, **fields).choices[0]

    answers = {ask(seed=seed).message.content for seed in range(8)}
    assert len(answers) > 1 and ask(seed=3).message.content == ask(seed=3).message.content
    full = ask(seed=3, temperature=0).message.content
    word = full.split()[2]
    stopped = ask(seed=3, temperature=0, stop=word)
    assert stopped.message.content == full[:full.index(word)] and stopped.finish_reason == "stop"
    for limit in ({"max_tokens": 2}, {"max_completion_tokens": 2}, {"max_tokens": 9, "max_completion_tokens": 2}):
        short = ask(seed=3, temperature=0, **limit)
        assert short.message.content == " ".join(full.split()[:2]) and short.finish_reason == "length"


def test_the_real_model_answers_and_stops_at_its_end_of_turn(served, client):
    chunks = list(client.chat.completions.create(model="local/smollm2", messages=PARIS, temperature=0, stream=True))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == "The capital of France is Paris."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].headwater["revision"] == served[1]["local/smollm2"]
    assert chunks[-1].headwater["build"] == ENGINES["llamacpp"].build()


def test_content_may_come_as_parts_of_text(client):
    parts = [{"role": "developer", "content": [{"type": "text", "text": "You are a helpful assistant."}]},
             {"role": "user", "content": [{"type": "text", "text": "What is the capital"},
                                          {"type": "text", "text": "of France?"}]}]
    answer = client.chat.completions.create(model="local/smollm2", messages=parts, temperature=0, max_tokens=20)
    assert "Paris" in answer.choices[0].message.content


# --- what is not honoured


def test_what_has_no_effect_is_reported(client):
    answer = client.chat.completions.create(
        model="local/river", messages=[{**ASK[0], "name": "ann"}], user="ann", store=True, service_tier="auto", n=1,
        tools=[], tool_choice="auto", logprobs=False, response_format={"type": "text"}, extra_body={"mirostat": 2})
    assert sorted(answer.headwater["warnings"]) == [
        "messages[0].name is ignored", "mirostat is ignored", "service_tier is ignored", "store is ignored",
        "user is ignored"]


@pytest.mark.parametrize("fields, param", [
    ({"logprobs": True}, "logprobs"), ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
     "messages"),
])
def test_what_would_change_the_answer_is_refused(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{"model": "local/river", "messages": ASK, **fields})
    assert refused.value.param == param and refused.value.code == "unsupported_parameter"


@pytest.mark.parametrize("fields", [
    {"messages": []}, {"messages": "hello"}, {"messages": [{"role": "king", "content": "x"}]}, {"temperature": 3},
    {"temperature": "1"}, {"top_p": 0}, {"seed": -1}, {"seed": 2**40}, {"max_tokens": 0}, {"stop": [1]},
    {"stop": ["x"] * 17}, {"stream": "yes"}, {"model": 5}, {"model": None},
    {"messages": [{"role": "user", "content": 5}]},
    {"n": 0}, {"n": 17},
])
def test_a_wrong_type_or_value_is_refused_by_name(client, fields):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{"model": "local/river", "messages": ASK, **fields})
    assert refused.value.type == "invalid_request_error"
    assert next(iter(fields)) in str(refused.value)


def test_a_body_that_is_no_json_or_too_large_is_refused(served):
    url = f"{served[0].url}/v1/chat/completions"
    for body in (b"{", b"[]", b"\xff", b"", b'{"model": "local/river", "messages": NaN}'):
        refused = httpx.post(url, content=body)
        assert refused.status_code == 400 and refused.json()["error"]["message"], body
    big = httpx.post(url, content=b'{"model": "' + b"x" * 17_000_000 + b'"}', timeout=30)
    assert big.status_code == 413


# --- errors


def test_errors_are_the_clients_own_classes(served, client):
    def ask(model):
        return client.chat.completions.create(model=model, messages=ASK)

    for model in ("local/nothing", "nobody/none", "gpt-4o", "local/river@nowhere", "local/words", "../x", "",
                  "/", "@", "a/b/c", "local/\0", "local/river@\0", "local/" + "x" * 400, "河/水"):
        with pytest.raises(openai.NotFoundError) as missing:
            ask(model)
        assert missing.value.code == "model_not_found", model
        with pytest.raises((openai.NotFoundError, ValueError)):
            client.models.retrieve(model)
    with pytest.raises(openai.InternalServerError) as failed:
        ask("local/broken")
    assert failed.value.status_code == 503 and failed.value.code == "EngineFailed"
    assert "model.gguf" in str(failed.value), "the worker's last lines say what is wrong"


def test_private_models_and_wrong_tokens_are_told_apart_from_nothing(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    tokens = make_team(data)
    with opened_hub(data) as hub:
        alice = Actor(hub.accounts.find("alice"), Access.ADMIN)
        keep(hub, alice, "alice", "secret", private=True, **toy())
        keep(hub, alice, "alice", "open", **toy())
    with HubProcess(data) as server:
        def client(token):
            return OpenAI(base_url=f"{server.url}/v1", api_key=token, max_retries=0)

        def ask(token, model):
            return client(token).chat.completions.create(model=model, messages=ASK)

        assert ask(tokens["alice"], "alice/secret").choices[0].message.content
        assert ask(tokens["bob"], "alice/open").choices[0].message.content
        assert {m.id for m in client(tokens["alice-read"]).models.list()} == {"alice/secret", "alice/open"}
        assert {m.id for m in client(tokens["bob"]).models.list()} == {"alice/open"}
        with pytest.raises(openai.NotFoundError):
            ask(tokens["bob"], "alice/secret")
        for token in ("hf_wrong", tokens["alice-revoked"], tokens["alice-expired"]):
            with pytest.raises(openai.AuthenticationError):
                ask(token, "alice/open")
        stranger = httpx.post(f"{server.url}/v1/chat/completions", json={"model": "alice/open", "messages": ASK})
        assert stranger.status_code == 401 and stranger.json()["error"]["type"] == "authentication_error"


def test_a_worker_killed_mid_stream_ends_it_with_an_error_and_comes_back(served, client):
    stream = client.chat.completions.create(model="local/endless", messages=ASK, stream=True)
    for _ in range(5):
        next(stream)
    worker_process(served[0], "markov", served[1]["local/endless"]).kill()
    with pytest.raises(openai.APIError, match="died in the middle of an answer"):
        list(stream)
    again = client.chat.completions.create(model="local/endless", messages=ASK, max_tokens=3)
    assert again.usage.completion_tokens == 3


def test_what_is_not_built_says_so_and_what_there_is(served, client):
    for ask in (lambda: client.moderations.create(input="x"), lambda: client.batches.list()):
        with pytest.raises(openai.InternalServerError, match="There are GET /v1/models and POST") as refused:
            ask()
        assert refused.value.status_code == 501
    assert httpx.get(f"{served[0].url}/v1/nonsense").status_code == 404


def test_the_body_is_described_in_openapi(served):
    described = httpx.get(f"{served[0].url}/openapi.json").json()["paths"]["/v1/chat/completions"]["post"]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    assert "$ref" not in json.dumps(schema)
    assert schema["required"] == ["model", "messages"]
    assert "assistant" in json.dumps(schema["properties"]["messages"])


def test_a_full_queue_is_the_clients_rate_limit_error_and_says_when_to_come_back(served, client):
    client.chat.completions.create(model="local/smollm2", messages=ASK, max_tokens=1)
    essay = [{"role": "user", "content": "Write a very long story about a river."}]
    body = {"model": "local/smollm2", "messages": essay, "temperature": 1.5, "max_tokens": 1500}
    slots = ENGINES["llamacpp"].slots
    with worker_of(served[0], "llamacpp") as busy:
        with contextlib.ExitStack() as held:
            posts = [held.enter_context(raw_post(served[0], body)) for _ in range(slots + QUEUE + 1)]
            until(lambda: select.select(posts, [], [], 0)[0], 20)  # one too many: it has its refusal
            with pytest.raises(openai.RateLimitError, match=f"{QUEUE} requests wait") as refused:
                client.chat.completions.create(model="local/smollm2", messages=ASK, max_tokens=1)
            assert 1 <= int(refused.value.response.headers["retry-after"]) <= 120
        until(lambda: busy() == 0, 20)


# --- hang-ups and load


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model, engine", [("local/endless", "markov"), ("local/smollm2", "llamacpp")])
def test_hanging_up_frees_the_engine_within_half_a_second(served, client, model, engine, stream):
    client.chat.completions.create(model=model, messages=ASK, max_tokens=1)
    essay = [{"role": "user", "content": "Write a very long story about a river. " * 3}]
    body = {"model": model, "messages": essay, "stream": stream, "temperature": 1.5, "max_tokens": 1500}

    def measure():
        with worker_of(served[0], engine, served[1][model]) as busy, raw_post(served[0], body) as raw:
            until(lambda: busy() == 1)
            time.sleep(0.3)
            assert busy() == 1
            raw.close()
            return until(lambda: busy() == 0, 5)

    assert quickest(measure, 0.5) < 0.5


def quickest(measure, limit, tries=3):
    """The first time within the limit, else the last: other work on the machine may delay one, not all."""
    for _ in range(tries):
        if (took := measure()) < limit:
            break
    return took


def test_hanging_up_while_a_long_prompt_is_read_frees_the_engine(served, client):
    """Counted in the worker's own seconds, of which the whole prompt would cost about ten."""
    client.chat.completions.create(model="local/smollm2", messages=ASK, max_tokens=1)
    body = {"model": "local/smollm2", "messages": [{"role": "user", "content": "river and sea and hill " * 380}]}
    worker = worker_process(served[0], "llamacpp")
    with worker_of(served[0], "llamacpp") as busy, raw_post(served[0], body) as raw:
        until(lambda: busy() == 1)
        time.sleep(0.3)
        before = sum(worker.cpu_times()[:2])
        raw.close()
        until(lambda: busy() == 0, 20)
        assert sum(worker.cpu_times()[:2]) - before < 2, "a batch or two of 64 tokens may have to end first"


@contextlib.contextmanager
def raw_post(server, body):
    """A bare socket that has sent the request and reads nothing."""
    host, port = server.url.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, int(port)))
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(data) + data)
        yield raw


def test_twenty_streams_at_once_lose_no_token(client):
    def ask(seed):
        chunks = list(client.chat.completions.create(
            model="local/fast", messages=ASK, seed=seed, max_tokens=500, stream=True,
            stream_options={"include_usage": True}))
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        pieces = sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks)
        return text, pieces, chunks[-1].usage.completion_tokens

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    for text, pieces, counted in answers:
        assert text.replace("tock tick", "tocktick") == "tick tock" * 250 or text.split() == ["tick", "tock"] * 250
        assert pieces == counted == 500


def test_a_reader_that_stands_still_costs_little_memory_and_stops_the_engine(served, client):
    client.chat.completions.create(model="local/fast", messages=ASK, max_tokens=1)
    hub = psutil.Process(served[0].process.pid)
    before = hub.memory_info().rss
    body = {"model": "local/fast", "messages": ASK, "stream": True, "max_tokens": 2**31 - 1}
    worker = worker_process(served[0], "markov", served[1]["local/fast"])

    def measure():
        with worker_of(served[0], "markov", served[1]["local/fast"]) as busy, contextlib.ExitStack() as held:
            readers = [held.enter_context(raw_post(served[0], body)) for _ in range(5)]
            until(lambda: busy() == 5)
            until(lambda: _still(hub) and _still(worker), 60)
            assert hub.memory_info().rss - before < 20_000_000
            for reader in readers:
                reader.close()
            return until(lambda: busy() == 0, 5)

    assert quickest(measure, 0.5) < 0.5


def _still(process):
    start = sum(process.cpu_times()[:2])
    time.sleep(0.5)
    return sum(process.cpu_times()[:2]) - start < 0.1


def test_health_answers_while_streams_run(served, client):
    stop = threading.Event()

    def listen():
        for _ in client.chat.completions.create(model="local/fast", messages=ASK, stream=True, max_tokens=2**31 - 1):
            if stop.is_set():
                return

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(listen) for _ in range(2)]
        time.sleep(0.5)
        times = []
        for _ in range(10):
            start = time.monotonic()
            assert httpx.get(f"{served[0].url}/healthz").status_code == 200
            times.append(time.monotonic() - start)
        stop.set()
        for future in futures:
            future.result(20)
    assert sorted(times)[5] < 2


def test_a_prompt_longer_than_the_context_is_refused_and_says_both_lengths(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="local/smollm2", messages=[{"role": "user", "content": "river " * 3000}])
    assert "2048" in str(refused.value) and "30" in str(refused.value)
    huge = [{"role": "user", "content": "river and sea " * 300_000}]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="local/smollm2", messages=huge)
    answer = client.chat.completions.create(model="local/smollm2", messages=PARIS, temperature=0, max_tokens=20)
    assert "Paris" in answer.choices[0].message.content


def test_more_streams_than_slots_wait_their_turn_and_all_are_answered(client):
    def ask(seed):
        return client.chat.completions.create(model="local/smollm2", messages=PARIS, seed=seed, max_tokens=8)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert all(answer.choices[0].message.content for answer in answers)
    assert {answer.headwater["seed"] for answer in answers} == set(range(8))
