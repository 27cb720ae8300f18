"""The official `ollama` client, in an environment of its own, against a hub with the real model."""

import httpx
import pytest
from clients import run_model_client
from model_hub import model_hub, toy

from headwater.api.ollama.generate import GenerateBody
from headwater.api.parameters import FACES

pytestmark = pytest.mark.xdist_group("ollama")  # one hub for the module


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    models = {"thinker": toy("<think> I ponder </think> It runs to the sea.")}
    with model_hub(tmp_path_factory.mktemp("ollama") / "data", models) as running:
        yield running


def test_the_official_client_lists_and_chats(served):
    run_model_client("""
import json, sys, ollama
client = ollama.Client(host=sys.argv[1])
assert {m.model for m in client.list().models} == {"local/smollm2", "local/thinker"}
ask = [{"role": "system", "content": "You are a helpful assistant."},
       {"role": "user", "content": "What is the capital of France?"}]
def chat(model="local/smollm2", **fields):
    return client.chat(model=model, messages=ask, options={"temperature": 0, "num_predict": 60}, **fields)
whole = chat()
assert whole.message.content == "The capital of France is Paris." and whole.done_reason == "stop", whole
parts = list(chat(stream=True))
assert "".join(p.message.content for p in parts) == whole.message.content and parts[-1].done
assert parts[-1].eval_count == whole.eval_count > 3
thinker = chat("local/thinker")
assert (thinker.message.thinking.strip(), thinker.message.content) == ("I ponder", "It runs to the sea.")
schema = {"type": "object", "properties": {"zq": {"const": 41}}, "required": ["zq"], "additionalProperties": False}
assert json.loads(chat(format=schema).message.content) == {"zq": 41}
for fields, status in (({"model": "local/none"}, 404), ({"format": {"$ref": "http://x"}}, 400)):
    try:
        chat(**fields)
        raise SystemExit("taken")
    except ollama.ResponseError as error:
        assert error.status_code == status and error.error, error
""", served[0].url)


def test_the_official_client_generates_and_asks_what_there_is(served):
    run_model_client("""
import inspect, sys, ollama
client = ollama.Client(host=sys.argv[1])
asked = dict(model="local/smollm2", prompt="What is the capital of France?", system="You are a helpful assistant.",
             options={"temperature": 0, "num_predict": 60})
whole = client.generate(**asked)
assert whole.response == "The capital of France is Paris." and whole.done_reason == "stop", whole
parts = list(client.generate(stream=True, **asked))
assert "".join(part.response for part in parts) == whole.response and parts[-1].done
assert parts[-1].eval_count == whole.eval_count > 3 and whole.prompt_eval_count > 20
raw = client.generate(model="local/smollm2", prompt="The capital of France is", raw=True,
                      options={"temperature": 0, "num_predict": 3})
assert raw.prompt_eval_count < 8 and raw.response and raw.done_reason == "length", raw
thinker = client.generate(model="local/thinker", prompt="x")
assert (thinker.thinking.strip(), thinker.response) == ("I ponder", "It runs to the sea.")
assert client.generate(model="local/thinker").done_reason == "load"
running = {model.name: model for model in client.ps().models}
assert running["local/smollm2"].context_length == 2048 and running["local/smollm2"].size > 10**7, running
assert running["local/thinker"].expires_at
shown = client.show("local/smollm2")
assert shown.details.family == "llama" and shown.details.format == "gguf" and shown.details.quantization_level == "Q4_1"
assert shown.details.parameter_size == "134.5M" and shown.modelinfo["llama.context_length"] == 8192, shown
assert "<|im_start|>" in shown.template and shown.capabilities == ["completion"]
for call in (lambda: client.show("local/none"), lambda: client.generate(model="local/none", prompt="x")):
    try:
        call()
        raise SystemExit("taken")
    except ollama.ResponseError as error:
        assert error.status_code == 404, error
for fields in ({"suffix": "x"}, {"template": "x"}, {"raw": True, "system": "x"}, {"context": [1]}):
    try:
        client.generate(**{**asked, **fields})
        raise SystemExit(f"taken: {fields}")
    except ollama.ResponseError as error:
        assert error.status_code == 400 and next(iter(set(fields) - {"raw"})) in error.error, error
""", served[0].url)


def test_no_parameter_of_generate_is_undecided():
    names = run_model_client("import ollama._types as types; print(*types.GenerateRequest.model_fields)").split()
    decided = FACES["ollama.generate"]
    assert set(names) - set(GenerateBody.model_fields) - decided.ignored - set(decided.refused) == set()
    assert not (decided.ignored | set(decided.refused)) & set(GenerateBody.model_fields)


def test_the_version_is_told_as_ollama_does(served):
    assert httpx.get(f"{served[0].url}/api/version").json()["version"]


def test_an_answer_says_whence_and_what_was_ignored(served):
    body = {"model": "local/thinker", "messages": [{"role": "user", "content": "x"}], "stream": False,
            "options": {"num_ctx": 1}, "keep_alive": "5m"}
    said = httpx.post(f"{served[0].url}/api/chat", json=body, timeout=60).json()["headwater"]
    assert said["revision"] == served[1]["local/thinker"]
    body["options"] = {"top_k": "5"}
    assert "top_k" in httpx.post(f"{served[0].url}/api/chat", json=body).json()["error"]
    assert sorted(said["warnings"]) == ["keep_alive is ignored", "options.num_ctx is ignored"]
    assert sorted(said["ignored"]) == ["keep_alive", "options.num_ctx"]
    for wrong in ({"options": {"mirostat": 1}}, {"messages": [{"role": "user", "content": "x", "images": ["AAAA"]}]},
                  {"messages": [{}]}, {"logprobs": True},
                  {"options": {"temperature": "hot"}}, {"messages": [{"role": "assistant", "tool_calls": 5}]}):
        refused = httpx.post(f"{served[0].url}/api/chat", json={**body, **wrong}, timeout=60)
        assert refused.status_code == 400 and isinstance(refused.json()["error"], str), wrong


def test_the_hubs_own_api_is_still_there(served):
    assert httpx.get(f"{served[0].url}/api/models").status_code == 200
    assert httpx.get(f"{served[0].url}/api/nonsense").status_code == 404
