"""Every parameter the official clients can send is decided: taken, ignored and told, or refused. None slips through."""

from __future__ import annotations

import inspect
import json

import httpx
import openai
import pytest
from clients import run_model_client
from hypothesis import given, settings
from hypothesis import strategies as st
from model_hub import keep, toy
from openai.resources.chat.completions import Completions as Chats
from openai.resources.completions import Completions
from openai.resources.embeddings import Embeddings
from openai.resources.responses import Responses
from openai.resources.responses.input_tokens import InputTokens
from server import HubProcess, opened_hub

from headwater.api.anthropic.request import MessagesBody
from headwater.api.ollama.chat import OPTIONS, OllamaBody
from headwater.api.openai.completions import TextBody
from headwater.api.openai.embeddings import EmbeddingsBody, RerankBody
from headwater.api.openai.request import ChatBody
from headwater.api.openai.responses import InputTokensBody, ResponsesBody
from headwater.api.parameters import FACES, Ignored, extras, ignored_headers, shown
from headwater.chat.types import UnsupportedParameter
from headwater.hub.accounts import owner_actor

pytestmark = pytest.mark.xdist_group("parameters")  # one hub for the module
OF_THE_CALL = {"self", "extra_headers", "extra_query", "extra_body", "timeout", "betas"}


def undecided(face: str, body: type, names: set[str]) -> set[str]:
    taken = OPTIONS if face == "ollama.options" else body.model_fields
    return names - OF_THE_CALL - set(taken) - FACES[face].ignored - set(FACES[face].refused)


@pytest.mark.parametrize(("face", "body", "call"), [
    ("chat", ChatBody, Chats.create), ("completions", TextBody, Completions.create),
    ("embeddings", EmbeddingsBody, Embeddings.create), ("responses", ResponsesBody, Responses.create),
    ("responses", InputTokensBody, InputTokens.count),
])
def test_no_parameter_of_the_openai_client_is_undecided(face, body, call):
    assert undecided(face, body, set(inspect.signature(call).parameters)) == set(), \
        "decide it in api/parameters.py, or take it in the body"


def test_no_parameter_of_the_anthropic_and_ollama_clients_is_undecided():
    said = json.loads(run_model_client("""
import inspect, json
from anthropic.resources.messages import Messages
from ollama._types import ChatRequest, Options
print(json.dumps({"create": list(inspect.signature(Messages.create).parameters),
                  "count": list(inspect.signature(Messages.count_tokens).parameters),
                  "ollama": list(ChatRequest.model_fields), "options": list(Options.model_fields)}))
"""))
    assert undecided("messages", MessagesBody, set(said["create"])) == set()
    assert undecided("messages", MessagesBody, set(said["count"])) == set()
    assert undecided("ollama", OllamaBody, set(said["ollama"])) == set()
    assert undecided("ollama.options", OllamaBody, set(said["options"])) == set()


def test_nothing_is_decided_twice():
    bodies = {"chat": ChatBody, "completions": TextBody, "embeddings": EmbeddingsBody, "rerank": RerankBody,
              "responses": ResponsesBody, "messages": MessagesBody, "ollama": OllamaBody}
    for face, decided in FACES.items():
        assert not decided.ignored & set(decided.refused), face
        if face in bodies:
            assert not (decided.ignored | set(decided.refused)) & set(bodies[face].model_fields), face


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
                    max_leaves=4)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FACES)).flatmap(lambda face: st.tuples(st.just(face), st.dictionaries(
    st.sampled_from(sorted(FACES[face].refused) + sorted(FACES[face].ignored)) | st.text(max_size=200), JSON,
    max_size=6))))
def test_whatever_is_sent_is_told_or_refused_and_never_dropped(case):
    face, sent = case
    try:
        warnings = extras(face, sent)
    except UnsupportedParameter as error:
        assert error.param in FACES[face].refused and error.param in sent
        return
    told = {warning.name for warning in warnings if isinstance(warning, Ignored)}
    for name, value in sent.items():
        if name in FACES[face].refused:
            assert value in FACES[face].refused[name], (name, value)
        else:
            assert (name[:100] in told) == (value is not None)
    header = ignored_headers(warnings).get("X-Headwater-Ignored", "")
    assert len(header) <= 1000 and header.isascii() and header.isprintable()
    assert len(shown(warnings)["warnings"]) <= 101


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    data = tmp_path_factory.mktemp("parameters") / "data"
    with opened_hub(data) as hub:
        keep(hub, owner_actor(hub), "local", "river", **toy())
    with HubProcess(data) as server:
        yield server
    assert "Traceback" not in server.tail(), server.tail()


ASK = {"messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(("path", "body", "ignored", "refused"), [
    ("/v1/chat/completions", {**ASK, "max_tokens": 2}, "user", {"logit_bias": {"5": 1}}),
    ("/v1/responses", {"input": "x", "max_output_tokens": 2}, "service_tier", {"truncation": "auto"}),
    ("/v1/messages", {**ASK, "max_tokens": 2}, "metadata", {"mcp_servers": [{"url": "x"}]}),
    ("/api/chat", {**ASK, "options": {"num_predict": 2}}, "keep_alive", {"top_logprobs": 3}),
])
def test_every_face_says_what_it_ignored_in_a_header_and_in_the_body_and_refuses_by_name(
        served, path, body, ignored, refused):
    body = {"model": "local/river", **body, ignored: {"effort": "low"}}
    whole = httpx.post(served.url + path, json={**body, "stream": False}, timeout=60)
    assert whole.status_code == 200, whole.text
    assert whole.headers["x-headwater-ignored"] == ignored
    assert whole.json()["headwater"]["ignored"] == [ignored]
    with httpx.stream("POST", served.url + path, json={**body, "stream": True}, timeout=60) as stream:
        assert stream.headers["x-headwater-ignored"] == ignored
        assert f'"ignored": ["{ignored}"]' in "".join(stream.iter_text())
    no = httpx.post(served.url + path, json={**body, **refused}, timeout=60)
    [name] = refused
    assert no.status_code == 400 and f"{name} is not supported" in no.text


def test_the_openai_client_hears_which_parameter_was_refused(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="suffix is not supported") as refused:
            client.completions.create(model="local/river", prompt="x", suffix="y")
        assert refused.value.param == "suffix"
        with pytest.raises(openai.BadRequestError, match="logprobs"):
            client.responses.create(model="local/river", input="x", include=["message.output_text.logprobs"])
        made = client.responses.create(model="local/river", input="x", include=["reasoning.encrypted_content"],
                                       text={"verbosity": "low"})
        assert set(made.headwater["ignored"]) == {"include", "text.verbosity"}
        told = client.chat.completions.create(model="local/river", max_tokens=1, messages=[
            {"role": "user", "content": "x", "name": "ann", "mood": "good"}])
        assert told.headwater["ignored"] == ["messages[0].name", "messages[0].mood"]
