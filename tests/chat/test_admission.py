"""Memory decides what is loaded: estimated from headers, refused with numbers, made by idle models alone."""

import asyncio
from contextlib import aclosing

import pytest
from chat_made import asking, chat_over, is_gone
from engine_samples import markov, smollm2

from headwater.chat import admission, workers
from headwater.chat.complete import complete
from headwater.chat.models import find
from headwater.core.errors import Busy, Conflict
from headwater.core.types import ANYONE

TOY = admission.OVERHEAD_BYTES + 1000


async def answer(chat, model, **fields):
    async with aclosing(complete(chat, ANYONE, asking(model, **fields))) as events:
        return [event async for event in events]


def names(chat):
    return {one["model"].split("@")[0] for one in chat.workers.loaded()}


def toys(tmp_path, *names, **config):
    for name in names:
        markov(tmp_path / name, text="tick tock ", **config)
    return {f"me/{name}": tmp_path / name for name in names}


def test_the_estimate_of_a_real_model_is_near_what_its_worker_takes(tmp_path):
    smollm2(tmp_path / "m")

    async def story():
        async with chat_over({"me/m": tmp_path / "m"}) as (chat, _):
            await answer(chat, "me/m", max_tokens=4)
            [one] = chat.workers.loaded()
            took = admission.resident(one["pid"])
            [(plan, noted)] = chat.workers._took.values()
            size = sum(entry.stat().st_size for entry in (tmp_path / "m").iterdir())
            # 30 layers, 3 heads of 64 for keys and values, two bytes a number
            assert plan.bytes == size + admission.OVERHEAD_BYTES + plan.slots * plan.context * 30 * 3 * 64 * 2 * 2
            assert (plan.slots, plan.context) == (4, 1024)
            assert 0.5 < took / plan.bytes < 1.5, (took, plan)
            assert noted <= one["memory_bytes"] * 1.05

    asyncio.run(story())


@pytest.mark.parametrize("said, size", [
    ({"block_count": 32, "embedding_length": 4096, "attention.head_count": 32, "attention.head_count_kv": 4},
     32 * 4 * 256 * 2),  # Yi-6B
    ({"block_count": 12, "embedding_length": 768, "attention.head_count": 12}, 12 * 12 * 128 * 2),
    ({"block_count": 2, "embedding_length": 640, "attention.head_count": 4, "attention.head_count_kv": (1, 2),
      "attention.key_length": 256, "attention.value_length": 128}, 3 * 384 * 2),
    ({"block_count": 32, "embedding_length": 4096}, None),
    ({"block_count": -1, "embedding_length": "wide", "attention.head_count": 0}, None),
])
def test_the_cache_of_a_token_follows_from_the_shape(said, size):
    assert admission.cache_per_token(said.get) == size


def test_with_less_memory_there_are_fewer_slots_then_less_context():
    estimate = admission.Estimate(fixed=1000, per_token=10, trained=None)
    plans = list(admission.plans(estimate, 4, 4096))
    assert [plan.slots for plan in plans] == [4, 3, 2, 1]
    assert [plan.bytes for plan in plans] == [1000 + n * 40960 for n in (4, 3, 2, 1)]
    assert [plan.context for plan in admission.short_plans(estimate, 4096)] == [2048, 1024]
    assert admission.Estimate(0, 10, trained=512).with_room(4, 4096) == admission.Plan(4, 512, 20480)


def test_what_a_worker_really_took_corrects_the_next_estimate():
    estimate = admission.Estimate(fixed=1000, per_token=1, trained=None)
    plan = estimate.with_room(1, 100)
    assert estimate.corrected(plan, 1900).with_room(1, 100).bytes == 1900
    assert estimate.corrected(plan, 0).fixed == 500


def test_a_model_that_cannot_fit_is_refused_with_the_numbers_before_it_loads(tmp_path):
    async def story():
        async with chat_over(toys(tmp_path, "a"), models_memory_bytes=50_000_000) as (chat, _):
            for _ in range(3):
                with pytest.raises(admission.DoesNotFit, match=r"me/a needs 0\.17 GB .* 0\.05 GB is all") as refused:
                    await answer(chat, "me/a")
                assert refused.value.status == 503 and "models_memory_bytes" in refused.value.hint
                await asyncio.sleep(0.02)
                assert chat.workers.loaded() == []

    asyncio.run(story())


def test_memory_other_programs_use_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "available", lambda: 10_000_000)

    async def story():
        async with chat_over(toys(tmp_path, "a")) as (chat, _):
            with pytest.raises(admission.DoesNotFit, match=r"0\.01 GB is free on this machine now"):
                await answer(chat, "me/a")

    asyncio.run(story())


def test_an_idle_model_goes_for_memory_and_a_pinned_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "ROOM_WAIT_S", 0.5)

    async def story():
        async with chat_over(toys(tmp_path, "a", "b"), workers_max=5, models_memory_bytes=TOY * 5 // 4) as (chat, _):
            await answer(chat, "me/a", max_tokens=1)
            await answer(chat, "me/b", max_tokens=1)
            assert names(chat) == {"me/b"}
            await chat.workers.pin(find(chat, ANYONE, "me/b"))
            with pytest.raises(Busy, match="free beside models that are in use"):
                await answer(chat, "me/a", max_tokens=1)
            await asyncio.sleep(0.05)
            assert names(chat) == {"me/b"}
            chat.workers.unpin(find(chat, ANYONE, "me/b"))
            await answer(chat, "me/a", max_tokens=1)
            assert names(chat) == {"me/a"}

    asyncio.run(story())


def test_a_busy_model_does_not_go_for_memory(tmp_path):
    async def story():
        models = toys(tmp_path, "a", "b", tokens_per_second=100)
        async with chat_over(models, workers_max=5, models_memory_bytes=TOY * 5 // 4) as (chat, _):
            events = complete(chat, ANYONE, asking("me/a"))
            await anext(events)
            other = asyncio.create_task(answer(chat, "me/b", max_tokens=1))
            for _ in range(30):
                await anext(events)
            assert not other.done() and "me/a" in names(chat)
            await events.aclose()
            await other
            assert names(chat) == {"me/b"}

    asyncio.run(story())


def test_a_pinned_model_is_not_unloaded_for_want_of_use_but_by_hand(tmp_path):
    async def story():
        async with chat_over(toys(tmp_path, "a"), worker_idle_s=0) as (chat, _):
            model = find(chat, ANYONE, "me/a")
            await chat.workers.pin(model)
            await answer(chat, "me/a", max_tokens=1)
            await asyncio.sleep(0.2)
            [one] = chat.workers.loaded()
            assert one["pinned"] and one["state"] == "ready"
            events = complete(chat, ANYONE, asking("me/a"))
            await anext(events)
            with pytest.raises(Conflict, match="1 requests"):
                chat.workers.unload(model)
            await events.aclose()
            assert chat.workers.unload(model)
            while chat.workers.loaded():
                await asyncio.sleep(0.01)
            assert is_gone(one["pid"]) and not chat.workers.unload(model)

    asyncio.run(story())


def test_a_load_nobody_waits_for_any_more_is_stopped(tmp_path):
    async def story():
        async with chat_over(toys(tmp_path, "a")) as (chat, _):
            asked = [asyncio.create_task(answer(chat, "me/a")) for _ in range(2)]
            await asyncio.sleep(0.1)
            assert [one["state"] for one in chat.workers.loaded()] == ["loading"]
            for task in asked:
                task.cancel()
            start = asyncio.get_running_loop().time()
            while chat.workers.loaded():
                await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - start < 0.5

    asyncio.run(story())
