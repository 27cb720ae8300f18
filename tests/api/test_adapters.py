"""LoRA adapters chosen per request: they change that answer and no other, also when many are asked for at once."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from llama_made import llama_gguf, lora_gguf
from model_hub import keep, model_hub, toy
from openai import BadRequestError, NotFoundError, OpenAI
from server import HubProcess, make_team, opened_hub

from headwater.core.types import Access, Actor
from headwater.hub.accounts import owner_actor

pytestmark = pytest.mark.xdist_group("adapters")  # one hub for the module
BASE = "local/base"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    made = tmp_path_factory.mktemp("made")
    llama_gguf(made / "base")
    llama_gguf(made / "broad", 256)
    for name in ("one", "two"):
        lora_gguf(made / name, seed=name)
    lora_gguf(made / "wide", 256)
    lora_gguf(made / "qwen", architecture="qwen2")
    return {path.name: path.read_bytes() for path in made.iterdir()}


@pytest.fixture(scope="module")
def served(files, tmp_path_factory):
    models = {name: {"lora-f16__gguf": files[name]} for name in ("one", "two", "wide", "qwen")}
    models |= {"base": {"tiny__gguf": files["base"]}, "broad": {"tiny__gguf": files["broad"]}, "toy": toy(),
               "peft": {"adapter_model__safetensors": b"x"}, "unnamed": {"x__gguf": files["one"]},
               "no-lora": {"lora__gguf": files["base"]}}
    with model_hub(tmp_path_factory.mktemp("adapters") / "data", models, workers_max=2, real=False,
                   chat_context=1024) as running:
        yield running


@pytest.fixture(scope="module")
def client(served) -> OpenAI:
    return OpenAI(base_url=f"{served[0].url}/v1", api_key="any", max_retries=0)


def ask(client, model=BASE, text="Where does the river run?", adapters=(), **fields):
    wish = {"adapters": [{"model": name, "scale": scale} for name, scale in adapters]}
    body = {"headwater": wish} if adapters else {}
    return client.chat.completions.create(model=model, temperature=0, max_tokens=6, logprobs=True, extra_body=body,
                                          messages=[{"role": "user", "content": text}], **fields)


def odds(answer) -> list[float]:
    return [token.logprob for token in answer.choices[0].logprobs.content]


def same(one, two) -> bool:
    return len(odds(one)) == len(odds(two)) and odds(one) == pytest.approx(odds(two), abs=1e-3)


def test_an_adapter_changes_its_own_answer_and_the_receipt_names_it(client, served):
    plain, one, two = ask(client), ask(client, f"{BASE}+local/one"), ask(client, adapters=[("local/two", 1.0)])
    assert not same(plain, one) and not same(plain, two) and not same(one, two)
    assert one.headwater["adapters"] == [{"repo": "local/one", "revision": served[1]["local/one"],
                                          "file": "lora-f16.gguf", "scale": 1.0}]
    assert one.headwater["repo"] == BASE and "adapters" not in plain.headwater
    assert same(ask(client), plain) and "adapters" not in ask(client).headwater
    exact = f"{BASE}@{served[1][BASE]}+local/one@{served[1]['local/one']}"
    assert same(ask(client, exact), one)


def test_a_scale_is_a_dial_from_nothing_to_all(client):
    plain, whole = ask(client), ask(client, f"{BASE}+local/one")
    none, half, full = (ask(client, adapters=[("local/one", scale)]) for scale in (0.0, 0.5, 1.0))
    assert same(none, plain) and same(full, whole) and not same(half, plain) and not same(half, whole)
    both = ask(client, f"{BASE}+local/one+local/two")
    assert [one["repo"] for one in both.headwater["adapters"]] == ["local/one", "local/two"]
    assert same(both, ask(client, f"{BASE}+local/two+local/one")) and not same(both, whole)


def test_answers_at_once_and_in_turn_are_each_made_with_their_own(client):
    both, texts = "+local/one+local/two", ["a" * 200, "b" * 200]
    ask(client, BASE + both)  # one worker with both of them
    kinds = [(), (("local/one", 1.0),), (("local/two", 1.0),)]
    alone = {(text, kind): ask(client, text=text, adapters=kind) for text in texts for kind in kinds}
    order = [(text, kind) for n in range(4) for text in texts for kind in kinds[n % 3:] + kinds[:n % 3]]
    assert all(same(ask(client, text=text, adapters=kind), alone[text, kind]) for text, kind in order)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda asked: (asked, ask(client, text=asked[0], adapters=asked[1])), order))
    assert all(abs(odds(said)[0] - odds(alone[asked])[0]) < 0.01 for asked, said in answers)


def test_a_request_without_adapters_goes_to_a_worker_that_has_them(served, client):
    loaded = f"{served[0].url}/api/headwater/chat/models"
    httpx.post(f"{loaded}/{BASE}/unload").raise_for_status()
    for _ in range(100):
        if not httpx.get(loaded).json():
            break
    both, plain = ask(client, f"{BASE}+local/one+local/two"), ask(client)
    [only] = httpx.get(loaded).json()
    assert [name.partition("@")[0] for name in only["adapters"]] == ["local/one", "local/two"] and not same(both, plain)
    httpx.post(f"{loaded}/{BASE}/pin", timeout=60).raise_for_status()
    assert [one["adapters"] for one in httpx.get(loaded).json() if one["pinned"]] == [[]]
    httpx.post(f"{loaded}/{BASE}/unload").raise_for_status()


@pytest.mark.parametrize(("model", "why"), [
    (f"{BASE}+local/wide", r"lora-f16.gguf changes 'blk.0.attn_q.weight' by 256 x 256 numbers, and tiny.gguf has 128"),
    (f"{BASE}+local/qwen", "for models of the architecture 'qwen2', and tiny.gguf is 'llama'"),
    (f"{BASE}+local/no-lora", "lora.gguf is no LoRA adapter"),
    (f"{BASE}+local/peft", "has no LoRA adapter that llamacpp"),
    ("local/toy+local/one", "runs on markov, which takes no LoRA"), (f"{BASE}+local/one+local/one", "asked for twice"),
    (BASE + "+local/one" * 5, "at most 4"), ("local/broad+local/one", "and tiny.gguf has 256 x 256 there"),
], ids=["width", "architecture", "a model", "safetensors", "engine", "twice", "five", "narrow"])
def test_what_does_not_fit_is_refused_with_the_reason_before_it_is_loaded(client, model, why):
    with pytest.raises(BadRequestError, match=why):
        ask(client, model)


def test_wrong_wishes_are_refused(client):
    for wish in ({"adapters": [{"model": "local/one", "scale": "1"}]}, {"adapters": [{}]}, {"adopters": []}, [],
                 {"adapters": [{"model": "local/one", "scale": 1e9}]}):
        with pytest.raises(BadRequestError, match="headwater"):
            client.chat.completions.create(model=BASE, messages=[{"role": "user", "content": "x"}],
                                           extra_body={"headwater": wish})
    for name in (f"{BASE}+local/none", "local/none+local/one", f"{BASE}+local/one@v9"):
        with pytest.raises(NotFoundError) as missing:
            ask(client, name)
        assert missing.value.code == "model_not_found"


def test_an_adapter_asked_for_alone_says_what_it_is(client):
    with pytest.raises(Exception, match="adapter and no model by itself"):
        ask(client, "local/unnamed")


def test_bare_texts_and_other_apis_take_them_too(served, client):
    def text(model):
        return client.completions.create(model=model, prompt="The river", temperature=0, max_tokens=6).choices[0].text

    assert text(f"{BASE}+local/one") != text(BASE)
    body = {"model": f"{BASE}+local/one", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
    said = httpx.post(f"{served[0].url}/v1/messages", json=body, timeout=60).json()
    assert said["headwater"]["adapters"][0]["repo"] == "local/one"


def test_a_private_adapter_is_no_ones_but_its_owners(files, tmp_path):
    tokens = make_team(tmp_path)
    with opened_hub(tmp_path) as hub:
        admin = owner_actor(hub)
        alice = Actor(hub.accounts.find("alice"), Access.ADMIN)
        keep(hub, alice, "alice", "base", tiny__gguf=files["base"])
        keep(hub, alice, "alice", "secret", private=True, lora__gguf=files["one"])
        assert admin
    with HubProcess(tmp_path, workers_max=1, worker_threads=1, chat_context=1024) as server:
        def ask_as(who):
            return httpx.post(f"{server.url}/v1/chat/completions", timeout=60, json={
                "model": "alice/base+alice/secret", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2},
                headers={"authorization": f"Bearer {tokens[who]}"})

        assert ask_as("alice").status_code == 200
        refused = ask_as("bob")
        assert refused.status_code == 404 and "alice/secret" in refused.json()["error"]["message"]
        named = httpx.get(f"{server.url}/v1/models", headers={"authorization": f"Bearer {tokens['bob']}"}).text
        assert "secret" not in named
