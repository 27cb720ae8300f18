"""Forms, tools, reasoning and probabilities by the official `openai` client, from the real model."""

import itertools
import json
import math

import httpx
import jsonschema
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_hub import model_hub, toy
from openai import OpenAI
from pydantic import BaseModel

from headwater.chat.reasoning import Thoughts

pytestmark = pytest.mark.xdist_group("openai_forms")  # one hub for the module
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
REAL = {"model": "local/smollm2", "messages": ASK, "temperature": 0, "max_tokens": 80}


def tool(name, **properties):
    return {"type": "function", "function": {
        "name": name, "description": f"Does {name}.",
        "parameters": {"type": "object", "properties": properties, "required": list(properties)}}}


WEATHER = tool("get_weather", city={"type": "string", "maxLength": 30}, unit={"enum": ["celsius", "kelvin"]})
PLACE = {"type": "object", "$defs": {"degrees": {"enum": [1, 2, 3]}}, "required": ["at"], "additionalProperties": False,
         "properties": {"at": {"$ref": "#/$defs/degrees"}}}
LOCATE = {"type": "function", "function": {"name": "locate", "parameters": PLACE}}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    models = {"river": toy(), "thinker": toy("<think> I ponder </think> It runs to the sea."),
              "only-thinks": toy("<think> I ponder and ponder.")}
    with model_hub(tmp_path_factory.mktemp("forms") / "data", models) as running:
        yield running


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served[0].url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


# --- forms


def test_a_json_schema_is_enforced(client):
    class City(BaseModel):
        name: str
        inhabitants: int
        kind: str | None

    answer = client.chat.completions.parse(**REAL, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)
    strange = {"type": "object", "properties": {"zq": {"const": 41}}, "required": ["zq"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "strange", "schema": strange, "strict": True}}
    answer = client.chat.completions.create(**REAL, response_format=form)
    assert json.loads(answer.choices[0].message.content) == {"zq": 41}


def test_a_json_object_is_enforced(client):
    answer = client.chat.completions.create(**{**REAL, "max_tokens": 400}, response_format={"type": "json_object"})
    said, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert said.startswith("{") and (reason == "length" or isinstance(json.loads(said), dict))


@pytest.mark.parametrize("form, told", [
    ({"type": "json_schema"}, "must be a JSON schema"),
    ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}, "nonsense"),
    ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "http://elsewhere/x"}}}, "outside"),
    ({"type": "grammar"}, "must be of type"),
])
def test_a_form_that_is_none_is_refused_with_the_reason(client, form, told):
    with pytest.raises(openai.BadRequestError, match=told):
        client.chat.completions.create(**REAL, response_format=form)


# --- tools


@pytest.mark.parametrize("choice, wanted", [
    ("required", {"get_weather", "locate"}),
    ({"type": "function", "function": {"name": "locate"}}, {"locate"}),
    ({"type": "function", "function": {"name": "get_weather"}}, {"get_weather"}),
])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_must_be_made_is_made_with_fitting_arguments(client, choice, wanted, stream):
    asked = {**REAL, "tools": [WEATHER, LOCATE], "tool_choice": choice}
    if stream:
        with client.chat.completions.stream(**asked) as events:
            answer = events.until_done().get_final_completion()
    else:
        answer = client.chat.completions.create(**asked)
    said = answer.choices[0]
    assert said.finish_reason == "tool_calls" and not said.message.content
    [call] = said.message.tool_calls
    assert call.id and call.function.name in wanted
    parameters = PLACE if call.function.name == "locate" else WEATHER["function"]["parameters"]
    jsonschema.validate(json.loads(call.function.arguments), parameters)
    if not stream:  # the client's helper keeps the first chunk's, and the warnings come in the last
        assert any("enforced" in warning for warning in answer.headwater["warnings"])


def test_a_call_cut_short_is_text_and_length(client):
    said = client.chat.completions.create(**{**REAL, "max_tokens": 4}, tools=[WEATHER], tool_choice="required")
    assert said.choices[0].finish_reason == "length" and said.choices[0].message.tool_calls is None


def test_tools_the_model_would_never_hear_of_are_refused_and_none_leaves_them_out(client):
    with pytest.raises(openai.BadRequestError, match="no place for tools") as refused:
        client.chat.completions.create(**REAL, tools=[WEATHER])
    assert refused.value.param == "tools"
    answer = client.chat.completions.create(**{**REAL, "max_tokens": 5}, tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.content and answer.headwater["warnings"] == []


def test_results_of_calls_reach_the_model(client):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    answer = client.chat.completions.create(**{**REAL, "messages": [
        *ASK, {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Purple snow."}]})
    assert "snow" in answer.choices[0].message.content
    assert any("as text" in warning for warning in answer.headwater["warnings"])


@pytest.mark.parametrize("fields, param", [
    ({"tools": [{"type": "web_search"}]}, "tools"), ({"tools": [tool("no spaces")]}, "tools"),
    ({"tools": [WEATHER, WEATHER]}, "tools"), ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": "required", "response_format": {"type": "json_object"}}, "response_format"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
    ({"messages": [{"role": "assistant", "tool_calls": [
        {"id": "1", "function": {"name": "f", "arguments": "no json"}}]}]}, "messages[0]"),
])
def test_what_is_wrong_about_tools_is_refused_by_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{**REAL, **fields})
    assert refused.value.param == param


def test_an_engine_that_cannot_says_so(client):
    for fields in ({"response_format": {"type": "json_object"}}, {"tools": [WEATHER], "tool_choice": "required"},
                   {"logprobs": True}):
        with pytest.raises(openai.BadRequestError, match="runs on markov, which") as refused:
            client.chat.completions.create(model="local/river", messages=ASK, **fields)
        assert refused.value.code == "unsupported_parameter"


def test_pictures_are_refused_with_the_reason(client):
    look = [{"role": "user", "content": [{"type": "text", "text": "What is this?"},
                                         {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    with pytest.raises(openai.BadRequestError, match="no projector") as refused:
        client.chat.completions.create(**{**REAL, "messages": look})
    assert refused.value.param == "messages"


# --- reasoning


def test_what_a_model_thinks_aloud_is_told_apart(served, client):
    def ask(model, **fields):
        return client.chat.completions.create(model=model, messages=ASK, **fields)

    whole = ask("local/thinker").choices[0].message
    chunks = list(ask("local/thinker", stream=True))
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    text = "".join(delta.content or "" for delta in deltas)
    thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert (text, thought.strip()) == ("It runs to the sea.", "I ponder")
    assert (whole.content, whole.reasoning_content) == (text, thought)
    cut = ask("local/only-thinks").choices[0].message
    assert (cut.content, cut.reasoning_content.strip()) == ("", "I ponder and ponder.")


@given(st.text(alphabet="<>/think a\n", max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_thoughts_are_the_same_however_the_text_is_cut(text, cuts):
    def split(parts):
        thoughts = Thoughts()
        said = [thoughts.add(part) for part in parts] + [thoughts.rest()]
        return ["".join(pair[n] for pair in said) for n in (0, 1)]

    bounds = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(bounds)]
    answer, thought = split(pieces)
    if not text.lstrip().startswith("<think>"):
        assert (answer, thought) == (text, "")
    else:
        inner, _, rest = text.lstrip().removeprefix("<think>").partition("</think>")
        assert answer.strip() == rest.strip() and thought.strip() == inner.strip()


# --- several answers


def test_several_answers_are_those_of_the_seeds_that_follow(client):
    def ask(**fields):
        return client.chat.completions.create(model="local/river", messages=ASK, **fields)

    both = ask(n=3, seed=7)
    texts = [choice.message.content for choice in both.choices]
    assert [choice.index for choice in both.choices] == [0, 1, 2] and both.headwater["seed"] == 7
    alone = [ask(seed=seed) for seed in (7, 8, 9)]
    assert texts == [one.choices[0].message.content for one in alone]
    assert both.usage.prompt_tokens == alone[0].usage.prompt_tokens
    assert both.usage.completion_tokens == sum(one.usage.completion_tokens for one in alone)
    streamed = ["", "", ""]
    chunks = list(ask(n=3, seed=7, stream=True, stream_options={"include_usage": True}))
    for chunk in chunks:
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts and chunks[-1].usage == both.usage
    drawn = ask(n=2)
    assert drawn.choices[1].message.content == ask(seed=drawn.headwater["seed"] + 1).choices[0].message.content


def test_the_real_model_makes_several_answers(client):
    answer = client.chat.completions.create(**{**REAL, "temperature": 1.5, "max_tokens": 12}, n=3, seed=1)
    assert len({choice.message.content for choice in answer.choices}) == 3


# --- probabilities


def test_each_token_comes_with_its_probability_and_its_rivals(client):
    asked = {**REAL, "max_tokens": 6, "logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**asked).choices[0]
    tokens = whole.logprobs.content
    assert "".join(token.token for token in tokens) == whole.message.content and len(tokens) == 6
    for token in tokens:
        assert len(token.top_logprobs) == 3 and bytes(token.bytes).decode() == token.token
        assert token.logprob == max(other.logprob for other in token.top_logprobs), "greedy takes the likeliest"
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1.001
    streamed = [token.token for chunk in client.chat.completions.create(**asked, stream=True)
                for choice in chunk.choices if choice.logprobs for token in choice.logprobs.content]
    assert streamed == [token.token for token in tokens]
    bare = client.chat.completions.create(**{**REAL, "max_tokens": 2}, logprobs=True).choices[0].logprobs.content
    assert [token.top_logprobs for token in bare] == [[], []]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**REAL, top_logprobs=3)
    assert refused.value.param == "top_logprobs"


def test_the_description_of_the_body_names_the_new_parameters(served):
    described = httpx.get(f"{served[0].url}/openapi.json").json()["paths"]["/v1/chat/completions"]["post"]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    assert {"tools", "tool_choice", "response_format", "logprobs"} <= set(schema["properties"])
