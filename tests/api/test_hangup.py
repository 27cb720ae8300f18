"""UntilHangup against a scripted server side: what a client that vanishes or stands still sets free."""

import asyncio

import pytest

from headwater.api.openai import hangup
from headwater.api.openai.hangup import UntilHangup


async def listening():
    await asyncio.Event().wait()


def test_a_reader_that_takes_nothing_for_too_long_is_let_go(monkeypatch):
    monkeypatch.setattr(hangup, "SLOW_READER_S", 0.2)
    closed = []

    async def stuck(message):
        await asyncio.Event().wait()

    async def work(send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        finally:
            closed.append(True)

    async def story():
        await asyncio.wait_for(UntilHangup(work)({}, listening, stuck), 5)

    asyncio.run(story())
    assert closed


def test_work_that_never_sends_is_stopped_by_the_hang_up():
    stopped = asyncio.Event()

    async def work(send):
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def story():
        gone = asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        answer = asyncio.create_task(UntilHangup(work)({}, receive, None))
        await asyncio.sleep(0.05)
        assert not stopped.is_set()
        gone.set()
        await asyncio.wait_for(answer, 1)
        assert stopped.is_set()

    asyncio.run(story())


def test_an_error_before_the_first_message_reaches_the_error_handler():
    async def work(send):
        raise LookupError("no model")

    with pytest.raises(LookupError, match="no model"):
        asyncio.run(UntilHangup(work)({}, listening, None))
