"""Embeddings by the official `openai` client and reranking, from small BERTs of random weights, run by llama.cpp."""

import math

import httpx
import openai
import pytest
from bert_made import CONTEXT, WIDTH, bert_gguf
from model_hub import model_hub, toy
from openai import OpenAI

pytestmark = pytest.mark.xdist_group("openai_embeddings")  # one hub for the module
ASK = [{"role": "user", "content": "Hello."}]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    models = {"bert": {"bert__gguf": bert_gguf(folder / "bert.gguf").read_bytes()},
              "ranker": {"ranker__gguf": bert_gguf(folder / "ranker.gguf", ranks=True).read_bytes()}, "river": toy()}
    with model_hub(folder / "data", models) as running:
        yield running


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served[0].url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def test_texts_become_vectors_in_both_encodings_and_the_answer_says_whence(served, client):
    texts = ["the river runs", "a high hill", "the river runs"] + [f"river {n}" for n in range(40)]
    packed = client.embeddings.create(model="local/bert", input=texts)  # this client asks for base64
    plain = client.embeddings.create(model="local/bert", input=texts, encoding_format="float")
    assert [one.index for one in plain.data] == list(range(43)) and len(plain.data[0].embedding) == WIDTH
    for one, two in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(two.embedding, abs=1e-4)
        assert math.hypot(*two.embedding) == pytest.approx(1, abs=1e-3)
    assert plain.data[0].embedding == pytest.approx(plain.data[2].embedding, abs=1e-4)
    assert plain.data[0].embedding != pytest.approx(plain.data[1].embedding, abs=1e-2)
    assert plain.headwater["revision"] == served[1]["local/bert"] and plain.usage.prompt_tokens > 43
    assert client.embeddings.create(model="local/bert", input="the river runs",
                                    encoding_format="float").data[0].embedding == pytest.approx(
        plain.data[0].embedding, abs=1e-4)


def test_documents_are_ranked_closest_first(served):
    documents = ["the river runs", {"text": "a high hill"}, "sea"]
    asked = {"model": "local/ranker", "query": "river", "documents": documents, "return_documents": True}
    answer = httpx.post(f"{served[0].url}/v1/rerank", json=asked, timeout=60)
    body = answer.json()
    assert answer.status_code == 200, body
    scores = [one["relevance_score"] for one in body["results"]]
    assert scores == sorted(scores, reverse=True) and {one["index"] for one in body["results"]} == {0, 1, 2}
    assert body["headwater"]["revision"] == served[1]["local/ranker"]
    texts = ["the river runs", "a high hill", "sea"]
    assert all(one["document"]["text"] == texts[one["index"]] for one in body["results"])
    first = httpx.post(f"{served[0].url}/v1/rerank", json={**asked, "top_n": 1}, timeout=60).json()["results"]
    assert [one["index"] for one in first] == [body["results"][0]["index"]]


@pytest.mark.parametrize("fields, param, told", [
    ({"model": "local/smollm2"}, "model", "not made for"), ({"model": "local/river"}, "model", "markov"),
    ({"model": "local/ranker"}, "model", "ranks documents"), ({"dimensions": 8}, "dimensions", "width"),
    ({"input": [[1, 2]]}, "input", "tokens"), ({"input": []}, "input", "1 to"),
    ({"input": ["x"] * 2049}, "input", "2048"), ({"input": "river " * CONTEXT * 2}, None, "too large"),
])
def test_what_cannot_be_is_refused_with_the_reason(client, fields, param, told):
    with pytest.raises(openai.BadRequestError, match=told) as refused:
        client.embeddings.create(**{"model": "local/bert", "input": "x", **fields})
    assert refused.value.param == param


def test_a_model_for_vectors_does_not_chat_and_one_for_chat_does_not_rank(served, client):
    for model in ("local/bert", "local/ranker"):
        with pytest.raises(openai.BadRequestError, match="does not chat"):
            client.chat.completions.create(model=model, messages=ASK)
    refused = httpx.post(f"{served[0].url}/v1/rerank", timeout=60,
                         json={"model": "local/bert", "query": "x", "documents": ["x"]})
    assert refused.status_code == 400 and "not made for" in refused.json()["error"]["message"]


def test_vectors_and_scores_are_measured_and_counted_in_the_day(served, client):
    def now():
        told = httpx.get(f"{served[0].url}/metrics").text
        done = float(next(line for line in told.splitlines() if line.startswith(
            'headwater_chat_requests_total{engine="llamacpp",outcome="stop"}')).split()[-1])
        return done, [line["used"] for line in httpx.get(f"{served[0].url}/api/headwater/chat/quota").json()]

    client.embeddings.create(model="local/bert", input="x")
    done, (requests, tokens) = now()
    read = client.embeddings.create(model="local/bert", input="the river runs").usage.total_tokens
    ranked = httpx.post(f"{served[0].url}/v1/rerank", timeout=60, json={
        "model": "local/ranker", "query": "river", "documents": ["the sea"]}).json()
    assert now() == (done + 2, [requests + 2, tokens + read + ranked["usage"]["total_tokens"]])
