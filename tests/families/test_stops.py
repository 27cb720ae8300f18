"""A GGUF file that names the wrong end, no template or a BOS it must not have: answers stop and prompts begin as the
pages say, because the hub tells llama.cpp so. The model says "helo" and then <|done|> for ever."""

import json

import httpx
import pytest
from llama_made import MARKS, llama_gguf, says
from model_hub import model_hub

from headwater.engines._overrides import Overrides, corrections

pytestmark = pytest.mark.xdist_group("stops")  # one hub for the module
DONE = MARKS.index("<|done|>")
ENDED = ("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|done|>' }}{% endfor %}"
         "{% if add_generation_prompt %}assistant:{% endif %}")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = tmp_path_factory.mktemp("made")
    weights = says("helo", DONE)
    adds = {"tokenizer.ggml.add_bos_token": True}
    for name, fields in (("wrong", {}), ("ends", {"template": ENDED}), ("bos", adds)):
        llama_gguf(made / name, 512, tensors=weights, **fields)
    wrong, ends, bos = ({"tiny__gguf": (made / name).read_bytes()} for name in ("wrong", "ends", "bos"))
    said = json.dumps({"eos_token_id": [2, DONE]}).encode()
    tokenizer = json.dumps({"bos_token": None, "eos_token": "</s>", "chat_template": "{{ 'x:' }}"}).encode()
    models = {"wrong": wrong, "ends": ends, "bos": bos, "configured": {**wrong, "generation_config__json": said},
              "bare": {**bos, "tokenizer_config__json": tokenizer}}
    data = tmp_path_factory.mktemp("stops") / "data"
    with model_hub(data, models, workers_max=1, real=False, chat_context=256) as running:
        yield running[0].url


def ask(url: str, model: str, **fields) -> dict:
    body = {"model": f"local/{model}", "messages": [{"role": "user", "content": "hi"}], "temperature": 0,
            "max_tokens": 20, **fields}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).raise_for_status().json()


def test_without_a_word_of_its_end_a_model_goes_on_to_its_greatest_length(served):
    said = ask(served, "wrong")
    assert said["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("model", ["configured", "ends"])
def test_an_end_that_only_another_file_or_the_template_names_ends_the_answer(served, model):
    said = ask(served, model)
    assert (said["choices"][0]["message"]["content"], said["choices"][0]["finish_reason"]) == ("helo", "stop")
    assert said["usage"]["completion_tokens"] == 5
    assert ask(served, model, stop=["l"])["choices"][0]["message"]["content"] == "he"


def test_template_and_bos_are_those_of_the_tokenizers_config(served):
    with_bos, without = ask(served, "bos")["usage"]["prompt_tokens"], ask(served, "bare")["usage"]["prompt_tokens"]
    assert with_bos == 1 + len(" user: hi\nassistant:") and without == len(" x:")  # llama.cpp writes the first space


def test_ends_take_the_places_that_name_no_other_end():
    eot, eom = "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"
    assert corrections({}, [(2, "</s>"), (7, "<|im_end|>")], False) == ({}, [])
    assert corrections({"tokenizer.ggml.eos_token_id": 2}, [(2, "x"), (7, None)], False) == ({eot: 7}, [])
    assert corrections({eot: 5}, [(5, "mine"), (7, "a"), (8, "b")], False) == ({eom: 7}, [8])
    assert corrections({eot: 5}, [(5, "<|im_end|>"), (7, "a")], False) == ({eot: 7}, [])
    assert corrections({"tokenizer.ggml.add_bos_token": True}, [], True) == (
        {"tokenizer.ggml.add_bos_token": False}, [])
    assert Overrides({eot: 7, "tokenizer.ggml.add_bos_token": False}).argv() == [
        "--override-kv", f"{eot}=int:7", "--override-kv", "tokenizer.ggml.add_bos_token=bool:false"]


def test_a_build_laid_out_otherwise_is_left_alone():
    class Params:
        """Has the two lists, and no memory that looks like llama.cpp's."""

        in_files: tuple = ()
        antiprompt: tuple = ()

    assert not Overrides({"tokenizer.ggml.eot_token_id": 7}).put(Params())
    assert Overrides({}).put(Params())
