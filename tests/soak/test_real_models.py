"""Real models that wheels carry, asked a few questions with answers that can be checked, at temperature 0."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_made import asking, chat_over
from real_models import gemma_gguf, qwen_large_gguf, qwen_small_gguf, smollm2_gguf

from headwater.chat.complete import complete
from headwater.chat.types import Finished, Piece
from headwater.core.types import Access, Actor

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
SECTION = ("Talk with real models", "The models that wheels of the package index carry, as the hub runs them "
           "(llama.cpp, one thread), at temperature 0.")
MODELS: dict[str, Callable[[], Path]] = {
    "SmolLM2-135M-Instruct": smollm2_gguf, "Gemma-3-270M (base)": gemma_gguf,
    "Qwen2.5-Coder-0.5B-Instruct": qwen_small_gguf, "Qwen2.5-Coder-1.5B-Instruct": qwen_large_gguf}
CAPITAL = ("What is the capital of France?", r"\bParis\b")
SUM = ("What is 17 + 25? Answer with the number only.", r"\b42\b")
CODE = ("Write a Python function add(a, b) that returns their sum. Only the code.", r"def add\(.*\breturn a \+ b\b")
CHINESE = ("中国的首都是哪座城市？", "北京")
WEEK = ("How many days are there in a week?", r"\b7\b|\bseven\b")
HELLO = ("Say hello.", r"\bHello\b")
ASKED = {"SmolLM2-135M-Instruct": (WEEK, HELLO), "Gemma-3-270M (base)": (),
         "Qwen2.5-Coder-0.5B-Instruct": (CAPITAL, CODE, CHINESE),
         "Qwen2.5-Coder-1.5B-Instruct": (CAPITAL, SUM, CODE, CHINESE)}
CONTINUED = {"Gemma-3-270M (base)": (
    ("Paris is the capital of", r"\bFrance\b"), ("1, 2, 3, 4, 5,", r"^\s*6, 7"),
    ("Monday, Tuesday, Wednesday,", r"\bThursday, Friday\b"))}
MARK = re.compile(r"<\|?\w+\|?>")
ROOM = 400


async def said(chat: Any, **fields: Any) -> tuple[str, Finished]:
    text = ""
    async for event in complete(chat, Actor(None, Access.READ), asking("real/model", temperature=0, **fields)):
        text += event.text if isinstance(event, Piece) else ""
    return text, event


@pytest.mark.parametrize("name", MODELS)
def test_a_real_model_answers_rightly_and_ends_by_itself(name, tmp_path, figures):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.gguf").symlink_to(MODELS[name]())

    async def run() -> None:
        async with chat_over({"real/model": tmp_path / "model"}, worker_start_s=300, worker_threads=1) as (chat, _):
            begun, made, right = time.monotonic(), 0, []
            for question, answer in ASKED[name]:
                text, end = await said(chat, messages=({"role": "user", "content": question},), max_tokens=ROOM)
                assert re.search(answer, text, re.S), (question, text)
                assert end.reason == "stop" and not MARK.search(text), (question, text)
                made += end.usage.completion_tokens
                right.append(question)
            for start, rest in CONTINUED.get(name, ()):
                text, end = await said(chat, messages=(), prompt=start, max_tokens=8)
                assert re.search(rest, text), (start, text)
                made += end.usage.completion_tokens
                right.append(start)
            figures[name] = ("right, and ends by itself" if ASKED[name] else "right", ", ".join(
                f"“{one}”" for one in right) + f" in {time.monotonic() - begun:.0f} s, {made} tokens")

    asyncio.run(run())
