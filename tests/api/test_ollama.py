"""The official `ollama` client, in an environment of its own, against a hub with the real model."""

import httpx
import pytest
from clients import run_model_client
from model_hub import model_hub, toy

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


def test_an_answer_says_whence_and_what_was_ignored(served):
    body = {"model": "local/thinker", "messages": [{"role": "user", "content": "x"}], "stream": False,
            "options": {"num_ctx": 1}, "keep_alive": "5m"}
    said = httpx.post(f"{served[0].url}/api/chat", json=body, timeout=60).json()["headwater"]
    assert said["revision"] == served[1]["local/thinker"]
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
