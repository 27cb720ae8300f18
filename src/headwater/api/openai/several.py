"""Several answers to one request, each a request of its own to the engine, heard side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from headwater.chat.types import ChatEvent

ANSWERS_MAX = 16


async def side_by_side(many: Sequence[AsyncGenerator[ChatEvent]]) -> AsyncGenerator[tuple[int, ChatEvent]]:
    """(which of them, its event) as they come. The first error ends all; closing this closes them all.

    One event waits at most: a slow listener makes the workers wait.
    """
    heard: asyncio.Queue[tuple[int, ChatEvent] | Exception | None] = asyncio.Queue(1)

    async def listen(n: int, events: AsyncGenerator[ChatEvent]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    await heard.put((n, event))
            await heard.put(None)
        except Exception as error:  # whatever it is, it is raised to the listener below
            await heard.put(error)

    tasks = [asyncio.create_task(listen(n, events)) for n, events in enumerate(many)]
    try:
        left = len(tasks)
        while left:
            said = await heard.get()
            if isinstance(said, Exception):
                raise said
            if said is None:
                left -= 1
            else:
                yield said
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
