"""llama.cpp compiled for this processor answers as an engine does, and the real model finds its form on it."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest
from chat_made import asking, chat_over
from engine_samples import smollm2, snapshot_of

from headwater.chat import form_probe
from headwater.chat.complete import complete
from headwater.chat.types import ChatModel
from headwater.core.settings import load
from headwater.core.types import ANYONE
from headwater.engines import ENGINES, _build, _native

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
SECTION = ("llama.cpp compiled here", "The source package of the index, compiled here, and SmolLM2 on it.")


def test_a_compiled_engine_answers_and_finds_the_form_of_the_real_model(tmp_path, figures):
    begin = time.monotonic()
    made = _build.build(tmp_path, lambda *_, **__: None)
    took = time.monotonic() - begin
    assert _native.usable(tmp_path) == made
    smollm2(tmp_path / "model")
    settings = load(tmp_path, {"llamacpp_build": "native"}, environ={})
    snapshot = snapshot_of(tmp_path / "model", "me/m")
    model = ChatModel(snapshot.repo, None, ENGINES["llamacpp"], "SmolLM2-135M-Instruct.Q4_1.gguf")

    async def say():
        async with chat_over({"me/m": tmp_path / "model"}, data=tmp_path, llamacpp_build="native") as (chat, _):
            asked = asking("me/m", max_tokens=24, temperature=0, messages=(
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is the capital of France?"}))
            async with aclosing(complete(chat, ANYONE, asked)) as events:
                return [event async for event in events]

    events = asyncio.run(say())
    assert events[0].origin.build == made.says
    assert "Paris" in "".join(getattr(event, "text", "") for event in events)
    found = form_probe.probe(settings, replace_commit(model), snapshot, lambda *_, **__: None, smaller=True)
    by_name = {trial["form"]: trial for trial in found["trials"]}
    assert by_name["BF16"]["refused"] is None and by_name["Q8_0"]["refused"] is None
    assert "something else" in by_name["Q4_0"]["refused"], "fewer bits than the file has change what it computes"
    figures["an engine compiled for this processor"] = ("runs", f"made in {took:.0f} s")
    figures["the fastest faithful form of SmolLM2-135M Q4_1 on it"] = ("found", f"{found['form'] or 'as stored'}")


def replace_commit(model: ChatModel) -> ChatModel:
    from dataclasses import replace

    from chat_made import Shelf

    return replace(model, commit=Shelf({}).commit("me/m"))
