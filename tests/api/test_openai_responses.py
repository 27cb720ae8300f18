"""OpenAI's Responses by its official client: whole, streamed, kept, gone on with, cancelled."""

import json
import time

import openai
import pytest
from model_hub import model_hub, toy
from openai import OpenAI

pytestmark = pytest.mark.xdist_group("openai_responses")  # one hub for the module
REAL = {"model": "local/smollm2", "temperature": 0, "instructions": "You are a helpful assistant.",
        "input": "What is the capital of France?"}
PARIS = "The capital of France is Paris."
TOOL = {"type": "function", "name": "look_up", "strict": True, "parameters": {
    "type": "object", "properties": {"digit": {"enum": [7]}}, "required": ["digit"], "additionalProperties": False}}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    models = {"thinker": toy("<think> I ponder </think> It runs to the sea."),
              "endless": toy("tick tock ", tokens_per_second=100)}
    with model_hub(tmp_path_factory.mktemp("responses") / "data", models) as running:
        yield running


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served[0].url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def test_a_response_is_made_and_kept_and_gone_on_with(served, client):
    made = client.responses.create(**REAL)
    assert made.output_text == PARIS and made.status == "completed"
    assert made.headwater["revision"] == served[1]["local/smollm2"] and made.usage.output_tokens > 3
    assert client.responses.retrieve(made.id).output_text == PARIS
    more = client.responses.create(model="local/smollm2", input="Say it again.", previous_response_id=made.id,
                                   max_output_tokens=3, temperature=0)
    assert more.usage.input_tokens > made.usage.input_tokens and more.status == "incomplete"
    assert more.incomplete_details.reason == "max_output_tokens"
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(client.responses.create(**REAL, store=False).id)


def test_a_stream_says_the_same(client):
    with client.responses.stream(**REAL) as stream:
        events = list(stream)
        last = stream.get_final_response()
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == PARIS
    assert last.output_text == PARIS and client.responses.retrieve(last.id).output_text == PARIS
    assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == sorted(
        event.sequence_number for event in events if hasattr(event, "sequence_number"))


def test_thoughts_are_items_of_their_own(client):
    made = client.responses.create(model="local/thinker", input="Where?")
    assert [item.type for item in made.output] == ["reasoning", "message"]
    assert made.output[0].content[0].text.strip() == "I ponder" and made.output_text == "It runs to the sea."
    kinds = [event.type for event in client.responses.create(model="local/thinker", input="Where?", stream=True)]
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"


def test_calls_and_forms_are_held(client):
    made = client.responses.create(**REAL, tools=[TOOL], tool_choice="required")
    [call] = made.output
    assert call.type == "function_call" and call.name == "look_up" and json.loads(call.arguments) == {"digit": 7}
    told = client.responses.create(
        model="local/smollm2", temperature=0, previous_response_id=made.id, max_output_tokens=20,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "Purple snow."}])
    assert told.output_text
    schema = {"type": "object", "properties": {"zq": {"const": 41}}, "required": ["zq"], "additionalProperties": False}
    form = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    assert json.loads(client.responses.create(**REAL, text=form).output_text) == {"zq": 41}


def test_one_in_the_background_is_asked_for_and_cancelled(client):
    done = client.responses.create(**REAL, background=True)
    while done.status == "in_progress":
        time.sleep(0.05)
        done = client.responses.retrieve(done.id)
    assert done.output_text == PARIS
    endless = client.responses.create(model="local/endless", input="x", background=True)
    while not client.responses.retrieve(endless.id).output:
        time.sleep(0.05)
    assert client.responses.cancel(endless.id).status == "cancelled"
    size = len(client.responses.retrieve(endless.id).output_text)
    time.sleep(0.3)
    assert len(client.responses.retrieve(endless.id).output_text) == size
    failed = client.responses.create(model="local/none", input="x", background=True)
    time.sleep(0.3)
    assert client.responses.retrieve(failed.id).status == "failed"


@pytest.mark.parametrize("fields, error", [
    ({"tools": [{"type": "web_search"}]}, "only function tools"), ({"conversation": "c"}, "conversation"),
    ({"previous_response_id": "resp_none"}, "No response"), ({"model": "local/none"}, "none"),
    ({"tools": [TOOL]}, "no place for tools"), ({"background": True, "stream": True}, "background"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}, "no projector"),
    ({"input": []}, "messages"), ({"input": [5]}, "input"), ({"temperature": 9}, "temperature"),
])
def test_what_cannot_be_is_refused(client, fields, error):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=error):
        client.responses.create(**{**REAL, "instructions": None, **fields})


def test_the_ignored_is_reported(client):
    made = client.responses.create(**REAL, max_output_tokens=1, user="ann", metadata={"a": "b"})
    assert made.headwater["warnings"] == ["user is ignored"] and made.metadata == {"a": "b"}
