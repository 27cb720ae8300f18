"""Thinking switched by each family's own word, and told as ignored where there is none."""

import asyncio
from typing import Any

import pytest
from chat_made import chat_over
from conversations import FAMILIES
from engine_samples import markov
from test_family_gguf import talk

from headwater.api.anthropic.request import MessagesBody, messages_request
from headwater.api.openai.request import ChatBody, chat_request
from headwater.chat.switches import thinking, words
from headwater.chat.types import Ignored, UnsupportedParameter

pytestmark = pytest.mark.xdist_group("engines")
OFF, ON, LOW = thinking("x", False), thinking("x", True), thinking("reasoning_effort", "low")
USER = [{"role": "user", "content": "hi"}]


def told(family: str, folder: Any, *switches: Any) -> list[dict[str, Any]]:
    """What a model of the family says to each of these switches."""
    if family == "none":
        markov(folder)
    else:
        next(one for one in FAMILIES if one.name == family).write_gguf(folder)

    async def run() -> list[dict[str, Any]]:
        async with chat_over({"local/model": folder}, worker_threads=1) as (chat, _):
            return [await talk(chat, "hi", switches=one) for one in switches]

    return asyncio.run(run())


def test_qwen_3_is_told_whether_to_think_and_says_that_it_is_not_told_how_hard(tmp_path):
    plain, off, on, low, other = told("Qwen 3", tmp_path / "model", (), (OFF,), (ON,), (LOW,),
                                      words("chat_template_kwargs", {"enable_thinking": False, "verbose": True}))
    assert off["prompt"] == plain["prompt"] + 4  # <think>, an empty line, </think>, an empty line
    assert (on["prompt"], low["prompt"], other["prompt"]) == (plain["prompt"], plain["prompt"], off["prompt"])
    assert [answer["warnings"] for answer in (plain, off, on)] == [(), (), ()]
    assert low["warnings"] == ("reasoning_effort: this model is told to think, and not how hard",)
    assert [note.name for note in other["warnings"]] == ["chat_template_kwargs.verbose"]


def test_deepseek_v31_is_switched_by_its_own_name_for_it(tmp_path):
    off, on = told("DeepSeek V3.1", tmp_path / "model", (OFF,), (ON,))
    assert off["text"] and not off["reasoning"]
    assert on["reasoning"] and not on["text"]
    assert off["warnings"] == on["warnings"] == ()


@pytest.mark.parametrize("family", ["Llama 2", "none"])
def test_where_nothing_can_be_switched_that_is_told_and_the_answer_comes_all_the_same(family, tmp_path):
    (answer,) = told(family, tmp_path / "model", (LOW, *words("chat_template_kwargs", {"enable_thinking": True})))
    assert answer["text"]
    assert all(isinstance(note, Ignored) for note in answer["warnings"])
    assert [note.name for note in answer["warnings"]] == ["reasoning_effort", "chat_template_kwargs.enable_thinking"]


def test_each_face_has_its_own_word_for_it():
    asked, _ = chat_request(ChatBody(model="a/b", messages=USER, reasoning_effort="none"))
    assert asked.words == {"enable_thinking": False, "thinking": False}
    asked, _ = chat_request(ChatBody(model="a/b", messages=USER, chat_template_kwargs={"enable_thinking": True}))
    assert asked.words == {"enable_thinking": True}
    asked, warnings = messages_request(MessagesBody(
        model="a/b", messages=USER, max_tokens=9, thinking={"type": "enabled", "budget_tokens": 1024}))
    assert asked.words == {"enable_thinking": True, "thinking": True}
    assert [note.name for note in warnings] == ["thinking.budget_tokens"]


@pytest.mark.parametrize("given", [{"messages": "x"}, {"bos_token": "x"}, {"a b": 1}, {"a": []}, {"a": "x" * 2000},
                                   {f"a{n}": 1 for n in range(99)}])
def test_what_is_no_word_for_a_template_is_refused(given):
    with pytest.raises(UnsupportedParameter):
        words("chat_template_kwargs", given)
    with pytest.raises(UnsupportedParameter):
        thinking("reasoning_effort", "very hard")
