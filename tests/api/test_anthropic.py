"""The official `anthropic` client, in an environment of its own, against a hub with the real model."""

import httpx
import pytest
from clients import run_model_client
from model_hub import model_hub, toy

pytestmark = pytest.mark.xdist_group("anthropic")  # one hub for the module
BEGIN = """
import sys, anthropic
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="any", max_retries=0, timeout=60)
ASK = [{"role": "user", "content": "What is the capital of France?"}]
SYSTEM = "You are a helpful assistant."
TOOL = {"name": "get_weather", "description": "Weather of a city", "input_schema": {"type": "object", "properties": {
    "unit": {"enum": ["celsius", "kelvin"]}}, "required": ["unit"], "additionalProperties": False}}
REAL = dict(model="local/smollm2", max_tokens=60, messages=ASK, system=SYSTEM, extra_body={"temperature": 0})
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    models = {"river": toy(), "thinker": toy("<think> I ponder </think> It runs to the sea.")}
    with model_hub(tmp_path_factory.mktemp("anthropic") / "data", models) as running:
        yield running


def run(served, code):
    return run_model_client(BEGIN + code, served[0].url)


def test_an_answer_and_a_stream_say_the_same_and_whence(served):
    said = run(served, """
whole = client.messages.create(**REAL)
assert whole.content[0].text == "The capital of France is Paris." and whole.stop_reason == "end_turn", whole
with client.messages.stream(**REAL) as stream:
    text = "".join(stream.text_stream)
    last = stream.get_final_message()
assert text == whole.content[0].text == last.content[0].text
assert last.usage.output_tokens == whole.usage.output_tokens > 3, (last.usage, whole.usage)
assert last.usage.input_tokens == whole.usage.input_tokens > 20
assert last.stop_reason == "end_turn"
short = client.messages.create(**{**REAL, "max_tokens": 2})
assert short.stop_reason == "max_tokens" and short.usage.output_tokens == 2
count = client.messages.count_tokens(model="local/smollm2", messages=ASK, system=SYSTEM)
assert count.input_tokens == whole.usage.input_tokens
stopped = client.messages.create(**{**REAL, "stop_sequences": [" France"]})
assert stopped.content[0].text == "The capital of"
assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " France"), stopped
assert stopped.usage.input_tokens == whole.usage.input_tokens
assert 3 <= stopped.usage.output_tokens <= whole.usage.output_tokens
with client.messages.stream(**{**REAL, "stop_sequences": ["nowhere", "of France is"]}) as stream:
    text, last = "".join(stream.text_stream), stream.get_final_message()
assert (text, last.stop_reason, last.stop_sequence) == ("The capital ", "stop_sequence", "of France is"), last
unmet = client.messages.create(**{**REAL, "stop_sequences": ["nowhere"]})
assert unmet.content[0].text == whole.content[0].text and unmet.usage == whole.usage
assert (unmet.stop_reason, unmet.stop_sequence) == ("end_turn", None), unmet
toy = client.messages.create(model="local/river", max_tokens=60, messages=ASK, stop_sequences=[".", "。"])
assert toy.stop_reason == "stop_sequence" and toy.stop_sequence in (".", "。"), toy
print(whole.headwater["revision"])
""")
    assert said.strip() == served[1]["local/smollm2"]


def test_a_call_is_made_and_its_result_reaches_the_model(served):
    run(served, """
asked = {**REAL, "tools": [TOOL], "tool_choice": {"type": "any"}}
whole = client.messages.create(**asked)
[call] = whole.content
assert call.type == "tool_use" and call.name == "get_weather" and call.input["unit"] in ("celsius", "kelvin"), whole
assert whole.stop_reason == "tool_use"
with client.messages.stream(**asked) as stream:
    streamed = stream.get_final_message()
assert streamed.content[0].input == call.input and streamed.stop_reason == "tool_use"
told = client.messages.create(**{**REAL, "messages": [*ASK, {"role": "assistant", "content": [call.model_dump()]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Purple snow."}]}]})
assert told.content[0].text and any("as text" in warning for warning in told.headwater["warnings"]), told
""")


def test_thoughts_are_blocks_of_their_own_and_forms_are_held(served):
    run(served, """
thinker = dict(model="local/thinker", max_tokens=50, messages=ASK)
whole = client.messages.create(**thinker)
assert [block.type for block in whole.content] == ["thinking", "text"], whole
with client.messages.stream(**thinker) as stream:
    streamed = stream.get_final_message()
assert [b.to_dict() for b in streamed.content] == [b.to_dict() for b in whole.content]
assert whole.content[0].thinking.strip() == "I ponder" and whole.content[1].text == "It runs to the sea."
form = {"type": "json_schema", "schema": {"type": "object", "properties": {"zq": {"const": 41}}, "required": ["zq"],
                                          "additionalProperties": False}}
import json
held = client.messages.create(**REAL, output_config={"format": form})
assert json.loads(held.content[0].text) == {"zq": 41}
""")


def test_errors_are_the_clients_own_and_the_ignored_is_reported(served):
    run(served, """
def refused(kind, **fields):
    try:
        client.messages.create(**{**REAL, **fields})
    except kind as error:
        assert error.body["type"] == "error" and error.body["error"]["message"], error.body
        return error.body["error"]
    raise AssertionError(f"taken: {fields}")
picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
look = [{"role": "user", "content": [picture]}]
assert "no projector" in refused(anthropic.BadRequestError, messages=look)["message"]
assert refused(anthropic.NotFoundError, model="local/none")["type"] == "not_found_error"
for fields in ({"max_tokens": 0}, {"tools": [TOOL]}, {"tools": [{"type": "web_search_20250305", "name": "x"}]},
               {"messages": []}, {"tool_choice": {"type": "any"}}, {"model": "local/river", "tools": [TOOL]}):
    assert refused(anthropic.BadRequestError, **fields)["type"] == "invalid_request_error", fields
answer = client.messages.create(**{**REAL, "max_tokens": 1}, metadata={"user_id": "a"})
assert answer.headwater["warnings"] == ["metadata is ignored"]
""")


def test_bare_requests_get_the_shape_too(served):
    url = f"{served[0].url}/v1/messages"
    for body in (b"{", b"[]", b'{"model": 5}', b'{"model": "local/river", "max_tokens": 5, "messages": '
                 b'[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": 5}]}]}'):
        refused = httpx.post(url, content=body)
        assert refused.status_code == 400 and refused.json()["type"] == "error", body
    events = httpx.post(url, json={"model": "local/river", "max_tokens": 3, "stream": True,
                                   "messages": [{"role": "user", "content": "x"}]})
    names = [line[7:] for line in events.text.splitlines() if line.startswith("event: ")]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_the_key_of_an_account_is_asked_for(team_server):
    body = {"model": "alice/none", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    url = f"{team_server.url}/v1/messages"
    stranger = httpx.post(url, json=body)
    assert stranger.status_code == 401 and stranger.json()["error"]["type"] == "authentication_error"
    assert httpx.post(url, json=body, headers={"x-api-key": "wrong"}).status_code == 401
    known = httpx.post(url, json=body, headers={"x-api-key": team_server.tokens["alice"]})
    assert known.status_code == 404 and known.json()["error"]["type"] == "not_found_error"
