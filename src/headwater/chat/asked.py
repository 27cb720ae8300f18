"""Many short answers for work in the background: a few side by side, giving way while the queue is full."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from headwater.chat import Chat
from headwater.chat.complete import complete
from headwater.chat.made import Made
from headwater.chat.quotas import QuotaSpent
from headwater.chat.types import ChatRequest
from headwater.core.errors import Busy
from headwater.core.types import Actor

AT_ONCE = 4
TRIES, WAIT_S = 60, 2.0


async def answer_all(chat: Chat, actor: Actor, requests: Sequence[ChatRequest]) -> list[str]:
    """The texts of the answers, in the order of the requests. Raises what `complete` raises; then the others end."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(request: ChatRequest) -> str:
        async with turn:
            for left in range(TRIES - 1, -1, -1):
                try:
                    return await _answer(chat, actor, request)
                except QuotaSpent:
                    raise
                except Busy:
                    if not left:
                        raise
                await asyncio.sleep(WAIT_S)
        raise AssertionError("the last try either answers or raises")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(request)) for request in requests]
    return [task.result() for task in tasks]


async def _answer(chat: Chat, actor: Actor, request: ChatRequest) -> str:
    made = Made()
    async with aclosing(complete(chat, actor, request)) as events:
        async for event in events:
            made.add(event)
    return made.text
