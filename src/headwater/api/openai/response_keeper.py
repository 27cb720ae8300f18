"""The responses of OpenAI's Responses that are kept, in the records; and those made in the background by this hub.

Each belongs to the account that asked; to all others it is not there. One in the background is made by the hub that
was asked, which says every BEAT_S that it still does; any hub on the same database can read, cancel and delete it. When
it has not said so for STALE_S, the hub that made it has died, and the response has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from headwater.api.openai.response_made import MadeResponse
from headwater.core.errors import BadInput, HeadwaterError, NotFound, TooLarge
from headwater.core.ports import Responses
from headwater.core.settings import Settings
from headwater.core.types import Actor, KeptResponse

log = logging.getLogger("headwater.http")
BEAT_S = 1.0
STALE_S = 20.0
CANCEL_S = 4 * BEAT_S
"""How long a cancel waits for another hub to hear of it."""
UNDER_WAY_MAX = 64
"""Responses one account may have under way in the background of one hub."""
DAY_S = 86_400


class Keeper:
    """Lives in one event loop, from the first response in the background to close()."""

    def __init__(self, settings: Settings, responses: Responses, now: Callable[[], float] = time.time):
        self._settings, self._responses, self._now = settings, responses, now
        self._under_way: dict[str, tuple[int, MadeResponse, asyncio.Task[None]]] = {}
        self._writing = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None
        self._closed = False

    async def add(self, actor: Actor, response: MadeResponse) -> None:
        """Keep one that has ended. If it cannot be, the response says so."""
        try:
            if not await self._add(actor, response.kept()):
                response.warn("not kept: larger than all an account's responses may be (responses_user_bytes)")
        except HeadwaterError as error:  # it was made, and is the client's, whether it can be kept or not
            log.warning("a response could not be kept: %s", error)
            response.warn(f"not kept: {error}")

    async def begin(self, actor: Actor, response: MadeResponse, run: Callable[[], Awaitable[None]]) -> None:
        """Keep one that is under way from now on, and make it. Raises BadInput, TooLarge."""
        mine = sum(account == actor.account.id for account, _, _ in self._under_way.values())
        if mine >= UNDER_WAY_MAX:
            raise BadInput(f"You have {mine} responses under way in the background already.", hint="Wait for some.")
        if not await self._add(actor, response.kept(self._now())):
            raise TooLarge("The input is larger than all your responses may be (responses_user_bytes).")
        task = asyncio.create_task(self._make(response, run))
        self._under_way[response.id] = actor.account.id, response, task
        await asyncio.sleep(0)  # a task cancelled before it begins would leave no word of its end
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())

    async def get(self, actor: Actor, name: str) -> KeptResponse:
        """Raises NotFound. One that nobody makes any more has failed."""
        if actor.account is None:
            raise _unknown(name)
        account, response, _ = self._under_way.get(name, (None, None, None))
        if response is not None and account == actor.account.id:
            return response.kept(self._now())
        kept = await asyncio.to_thread(self._responses.get, actor.account.id, name)
        if kept is None:
            raise _unknown(name)
        if kept.heartbeat_at is not None and kept.heartbeat_at < self._now() - STALE_S:
            kept.shown.update(status="failed", error={"code": "server_error",
                                                      "message": "The hub that made this response has ended."})
        return kept

    async def delete(self, actor: Actor, name: str) -> None:
        """Forget it; one under way is stopped. Raises NotFound."""
        kept = await self.get(actor, name)
        await asyncio.to_thread(self._responses.delete, actor.account.id, kept.id)
        await self._stop(kept.id)

    async def cancel(self, actor: Actor, name: str) -> dict[str, Any]:
        """Stop one in the background, wherever it is made; one that has ended stays as it is."""
        kept = await self.get(actor, name)
        if not kept.shown.get("background"):
            raise BadInput("Only a response asked for with background=true can be cancelled.",
                           hint="Others stop when the client hangs up.")
        if not await self._stop(kept.id) and kept.shown["status"] == "in_progress":
            await asyncio.to_thread(self._responses.ask_cancel, actor.account.id, kept.id)
            until = time.monotonic() + CANCEL_S
            while kept.shown["status"] == "in_progress" and time.monotonic() < until:
                await asyncio.sleep(BEAT_S / 8)
                kept = await self.get(actor, name)
        return (await self.get(actor, name)).shown

    async def close(self) -> None:
        """What is under way fails, and says why."""
        self._closed = True
        await asyncio.gather(*(self._stop(name) for name in list(self._under_way)))
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating

    async def _add(self, actor: Actor, kept: KeptResponse) -> bool:
        return await asyncio.to_thread(
            self._responses.add, actor.account.id, kept, user_bytes=self._settings.responses_user_bytes,
            seconds=self._settings.responses_days * DAY_S)

    async def _stop(self, name: str) -> bool:
        """Whether it was under way here. Returns when it has ended."""
        if name not in self._under_way:
            return False
        task = self._under_way[name][2]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return True

    async def _make(self, response: MadeResponse, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except asyncio.CancelledError:
            if self._closed:
                response.fail("The hub was stopped while it made this response.")
            else:
                response.cancel()
        except HeadwaterError as error:
            response.fail(str(error))
        except Exception:
            log.exception("a response in the background broke")
            response.fail("Something broke in the hub; its log says what.")
        finally:
            await self._end(response)

    async def _end(self, response: MadeResponse) -> None:
        try:
            async with self._writing:
                await asyncio.to_thread(self._responses.replace, response.kept())
        except HeadwaterError as error:
            log.warning("the response %s could not be kept: %s", response.id, error)
        finally:
            self._under_way.pop(response.id, None)

    async def _beat(self) -> None:
        """Say what is under way, and how far it is; hear what is to stop."""
        told: dict[str, int] = {}
        while self._under_way:
            await asyncio.sleep(BEAT_S)
            try:
                async with self._writing:
                    grown = [one for _, one, _ in self._under_way.values() if told.get(one.id) != one.pieces]
                    for one in grown:
                        told[one.id] = one.pieces
                        await asyncio.to_thread(self._responses.replace, one.kept(self._now()))
                    stop = await asyncio.to_thread(self._responses.beat, list(self._under_way))
            except HeadwaterError as error:  # the next beat may be heard
                log.warning("responses under way could not be told to the records: %s", error)
                continue
            for name in stop & self._under_way.keys():
                self._under_way[name][2].cancel()


def _unknown(name: str) -> NotFound:
    return NotFound(f"No response {name[:100]!r} is kept here.",
                    hint="Responses are kept for the account that asked, for some days, unless asked with store=false.")
