"""POST /v1/completions by the official `openai` client, from the real model."""

import openai
import pytest
from model_hub import model_hub, toy
from openai import OpenAI

pytestmark = pytest.mark.xdist_group("openai_completions")  # one hub for the module
REAL = {"model": "local/smollm2", "temperature": 0}
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with model_hub(tmp_path_factory.mktemp("completions") / "data", {"river": toy()}) as running:
        yield running


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served[0].url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def test_a_text_is_gone_on_with_and_the_answer_says_whence(served, client):
    answer = client.completions.create(**REAL, prompt=PROMPT)
    assert "Paris" in answer.choices[0].text and answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 16, "OpenAI's default"
    assert answer.headwater["revision"] == served[1]["local/smollm2"] and answer.id.startswith("cmpl-")
    chunks = list(client.completions.create(**REAL, prompt=PROMPT, stream=True, stream_options={"include_usage": True}))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == answer.choices[0].text
    assert chunks[-1].usage == answer.usage and chunks[-2].choices[0].finish_reason == "length"
    stopped = client.completions.create(**REAL, prompt=PROMPT, stop="Paris").choices[0]
    assert stopped.text == answer.choices[0].text.partition("Paris")[0] and stopped.finish_reason == "stop"


def test_several_prompts_and_answers_keep_their_order(client):
    prompts = ["One, two, three, four,", "Monday, Tuesday,"]
    alone = [client.completions.create(**REAL, prompt=prompt, max_tokens=3).choices[0].text for prompt in prompts]
    answer = client.completions.create(**REAL, prompt=prompts, max_tokens=3, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in answer.choices] == [alone[0], alone[0], alone[1], alone[1]]
    assert answer.usage.completion_tokens == 12


def test_probabilities_come_in_the_old_form(client):
    choice = client.completions.create(**REAL, prompt=PROMPT, max_tokens=4, logprobs=2).choices[0]
    told = choice.logprobs
    assert "".join(told.tokens) == choice.text and len(told.token_logprobs) == 4
    assert all(len(rivals) == 2 and max(rivals.values()) == own
               for rivals, own in zip(told.top_logprobs, told.token_logprobs, strict=True))
    assert [(PROMPT + choice.text)[at:at + len(token)]
            for at, token in zip(told.text_offset, told.tokens, strict=True)] == told.tokens


@pytest.mark.parametrize("fields, param", [
    ({"echo": True}, "echo"), ({"best_of": 3}, "best_of"), ({"suffix": "x"}, "suffix"), ({"prompt": [1, 2]}, "prompt"),
    ({"prompt": [[1]]}, "prompt"), ({"prompt": ["x"] * 5, "n": 5}, "n"), ({"prompt": []}, "prompt"),
    ({"logit_bias": {"5": 1}}, "logit_bias"), ({"logprobs": 99}, "logprobs"), ({"model": "local/river"}, "prompt"),
])
def test_what_is_not_done_is_refused_by_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(**{**REAL, "prompt": "x", **fields})
    assert refused.value.param == param


def test_what_has_no_effect_is_reported(client):
    answer = client.completions.create(**REAL, prompt="x", max_tokens=1, user="ann")
    assert answer.headwater["warnings"] == ["user is ignored"]
