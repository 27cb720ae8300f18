"""A model that is loaded again need not read its last conversations again; what is kept is bounded and private."""

import asyncio
import os
import time
from contextlib import aclosing

import httpx
import pytest
from chat_made import asking, chat_over
from llama_made import llama_gguf

from headwater.chat import prompts
from headwater.chat.complete import complete
from headwater.core.settings import load
from headwater.core.types import ANYONE

LONG = ({"role": "user", "content": "the river runs to the sea and water finds its way. " * 8},)
OTHER = ({"role": "user", "content": "a quite different beginning of some other user. " * 8},)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "data").mkdir()
    llama_gguf(tmp_path / "model" / "small.gguf")
    return tmp_path / "model"


async def answer(chat, messages=LONG):
    async with aclosing(complete(chat, ANYONE, asking("me/m", messages=messages, max_tokens=3, seed=1,
                                                      temperature=0))) as events:
        return [event async for event in events]


async def read_again(chat, messages):
    """Prompt tokens the worker took from what it had, by its own figures."""
    worker = next(iter(chat.workers._seats.values())).worker
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {worker.endpoint.key}"}, timeout=20) as client:
        told = await client.post(f"{worker.endpoint.url}/v1/chat/completions",
                                 json={"messages": list(messages), "max_tokens": 1})
    return told.json()["timings"]["cache_n"]


def story(folder, messages, **flags):
    """Load, have `messages` answered after a restart: tokens of it that need not be read."""
    data = folder.parent / "data"

    async def told():
        async with chat_over({"me/m": folder}, data=data, **flags) as (chat, _):
            first = await answer(chat)
        async with chat_over({"me/m": folder}, data=data, **flags) as (chat, _):
            await chat.workers.pin(chat_model(chat))
            return first, await read_again(chat, messages)

    return asyncio.run(told())


def chat_model(chat):
    from headwater.chat.models import find

    return find(chat, ANYONE, "me/m")


def test_a_restarted_worker_goes_on_where_it_was(folder):
    _, cached = story(folder, LONG)
    assert cached > 300
    kept = list((folder.parent / "data" / "prompts").rglob("slot-*"))
    assert kept and all(not path.name.endswith(".part") for path in kept)
    assert (folder.parent / "data" / "prompts").stat().st_mode & 0o077 == 0, "for this user alone"


def test_another_conversation_gets_nothing_of_it(folder):
    _, cached = story(folder, OTHER)
    assert cached < 20, "the words all conversations begin with, and no more"


def test_the_answer_after_a_restart_is_the_same(folder):
    data = folder.parent / "data"

    async def texts():
        found = []
        for _ in range(2):
            async with chat_over({"me/m": folder}, data=data) as (chat, _):
                found.append([getattr(event, "text", None) for event in await answer(chat)])
        return found

    first, second = asyncio.run(texts())
    assert first == second


def test_nothing_is_kept_where_the_setting_says_so(folder):
    _, cached = story(folder, LONG, prompt_cache_bytes=0)
    assert cached == 0 and not (folder.parent / "data" / "prompts").exists()


def test_a_damaged_file_is_deleted_and_the_model_loads(folder):
    story(folder, LONG)
    for path in (folder.parent / "data" / "prompts").rglob("slot-*"):
        path.write_bytes(path.read_bytes()[:100])
    _, cached = story(folder, LONG)
    assert cached > 300, "read anew, kept anew"


def test_the_oldest_go_first_and_all_in_the_end(tmp_path):
    place = tmp_path / "prompts" / ("0" * 64) / "x"
    place.mkdir(parents=True)
    for number, age in enumerate((10, 500, 1000, 90_000)):
        (place / f"slot-{number}").write_bytes(bytes(100))
        os.utime(place / f"slot-{number}", (time.time() - age,) * 2)
    settings = load(tmp_path, {"prompt_cache_bytes": 200}, environ={})
    assert prompts.tidy(settings) == 2
    assert sorted(path.name for path in place.iterdir()) == ["slot-0", "slot-1"]
    os.utime(place / "slot-1", (time.time() - 90_000,) * 2)
    assert prompts.tidy(settings) == 1
