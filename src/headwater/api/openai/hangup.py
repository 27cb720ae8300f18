"""An answer made while it is sent, that stops when nobody listens any more. Knows nothing of models."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

SLOW_READER_S = 60.0
"""A client that takes nothing for this long is let go: it keeps a slot from others."""


class _StandsStill(Exception):
    """The client has taken nothing for SLOW_READER_S."""


class UntilHangup(Response):
    """Runs work(send), which sends the whole response, and cancels it when the client hangs up.

    An error that work raises before its first message is answered by the app's error handler.
    """

    def __init__(self, work: Callable[[Send], Awaitable[None]]):
        self._work = work
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._work(_bounded(send)))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled():
            with contextlib.suppress(_StandsStill):
                work.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _bounded(send: Send) -> Send:
    async def within(message: Message) -> None:
        try:
            async with asyncio.timeout(SLOW_READER_S):
                await send(message)
        except TimeoutError:
            raise _StandsStill from None
        await asyncio.sleep(0)  # neither send need wait nor the worker's buffer be empty: let the others have a turn

    return within
