"""Figures of what really happened, read back by Prometheus's own parser; nothing of what was said."""

import asyncio
import logging
from contextlib import aclosing

import pytest
from chat_made import asking, chat_over
from engine_samples import markov
from prometheus_client.parser import text_string_to_metric_families

from headwater.chat.complete import complete
from headwater.chat.quotas import QuotaSpent
from headwater.core.errors import ModelNotFound
from headwater.core.types import ANYONE


async def answer(chat, model, **fields):
    async with aclosing(complete(chat, ANYONE, asking(model, **fields))) as events:
        return [event async for event in events]


def figures(chat):
    return {(sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(chat.meter.text().decode()) for sample in family.samples}


def test_requests_are_counted_by_outcome_and_timed(tmp_path, caplog):
    caplog.set_level(logging.INFO, "headwater.chat")
    markov(tmp_path / "a", text="tick tock ", tokens_per_second=200)

    async def story():
        async with chat_over({"me/a": tmp_path / "a"}) as (chat, _):
            await answer(chat, "me/a", max_tokens=5)
            events = complete(chat, ANYONE, asking("me/a"))
            for _ in range(4):
                await anext(events)
            during = figures(chat)
            await events.aclose()
            with pytest.raises(ModelNotFound):
                await answer(chat, "me/none")
            return during, figures(chat)

    during, after = asyncio.run(story())
    assert during["headwater_chat_busy", "markov"] == 1 and during["headwater_chat_models", "markov"] == 1
    assert during["headwater_chat_slots", "markov"] == 64 and during["headwater_chat_memory_bytes", "markov"] > 1e6
    assert during["headwater_chat_waiting", "turn"] == 0
    assert after["headwater_chat_requests_total", "length", "markov"] == 1
    assert after["headwater_chat_requests_total", "hung_up", "markov"] == 1
    assert after["headwater_chat_requests_total", "model_not_found", "none"] == 1
    assert after["headwater_chat_tokens_total", "markov", "written"] == 5 + 3
    assert after["headwater_chat_first_token_seconds_count",] == 2
    assert after["headwater_chat_between_tokens_seconds_count",] == 4 + 2
    lines = [record.getMessage() for record in caplog.records if record.name == "headwater.chat"]
    assert len(lines) == 3 and "length;" in lines[0] and "5 written" in lines[0] and "anonymous" in lines[0]
    assert not any(word in line for line in lines for word in ("tick", "river run")), "content is not logged"


def test_a_quota_is_enforced_where_every_face_asks(tmp_path):
    markov(tmp_path / "a")

    async def story():
        async with chat_over({"me/a": tmp_path / "a"}, user_tokens_per_day=3) as (chat, _):
            await answer(chat, "me/a", max_tokens=2)
            with pytest.raises(QuotaSpent):
                await answer(chat, "me/a")

    asyncio.run(story())
