"""Which models are loaded. Loads each once however many ask, keeps a few, unloads what nobody uses.

Three gates stand between a request and a worker, each a place where more policy can go: a seat (is there room
for this model), loading (is it healthy), a turn (whose turn it is when the engine has a hand free: queue.py).
Knows nothing of HTTP clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.chat.process import WorkerProcess
from headwater.chat.queue import FairQueue, Ledger, OnWait, Ticket
from headwater.chat.types import ChatModel
from headwater.core.errors import Busy, EngineFailed, HeadwaterError, Unavailable
from headwater.core.settings import Settings
from headwater.core.types import Commit, Repo, Snapshot

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger("headwater.worker")

ROOM_WAIT_S = 30.0
"""How long a request waits for a place when every loaded model is busy, before it is answered Busy."""
HEALTHY_S = 60.0
"""A worker that lived this long is no crash loop, whatever ended it."""
BACKOFF_MAX_S = 60.0
FAILURES_MAX = 256
BUFFER = 32 * 1024
"""Of each stream's bytes at most twice this waits in the gateway for a slow reader; also the longest event."""


class Seat:
    """The place of one model: loading, ready or leaving. `busy` counts the requests that hold it."""

    def __init__(self, model: ChatModel, queue: FairQueue):
        self.model, self.queue = model, queue
        self.busy = 0
        self.used_at = time.monotonic()
        self.leaving = False
        self.loading: asyncio.Task[WorkerProcess]
        self.unload: asyncio.TimerHandle | None = None

    @property
    def worker(self) -> WorkerProcess | None:
        done = self.loading.done() and not self.loading.cancelled() and self.loading.exception() is None
        return self.loading.result() if done else None


@dataclass(frozen=True)
class Waiting:
    """A request that waits. what_for: turn, loading or room. position: 1 is next."""

    model: ChatModel
    account: str
    what_for: str
    position: int
    seconds: float


@dataclass(frozen=True)
class _Failure:
    count: int
    at: float
    error: HeadwaterError

    def wait_s(self, now: float) -> float:
        """The first failure may be tried again at once, the second after a second, then twice as long each time."""
        return 0.0 if self.count < 2 else self.at + min(2.0 ** (self.count - 2), BACKOFF_MAX_S) - now


class Workers:
    """The workers of one gateway. Lives in one event loop, from the first hold() to close()."""

    def __init__(self, settings: Settings, lay_out: Callable[[Repo, Commit], Snapshot]):
        self._settings, self._lay_out = settings, lay_out
        self._seats: dict[Any, Seat] = {}
        self._failures: OrderedDict[Any, _Failure] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._news = asyncio.Event()
        self._ledger = Ledger()
        self._lobby: dict[object, tuple[ChatModel, str, float]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def hold(self, model: ChatModel, account: str = "anonymous",
                   on_wait: OnWait | None = None) -> AsyncIterator[WorkerProcess]:
        """A turn in a healthy worker of this model, loaded if need be; while held it is not unloaded.

        account: for whom; accounts that used little lately go first. on_wait: told the position, once waiting lasts.
        Raises Busy (no room, or too many wait), EngineFailed (does not start, or failed just now).
        """
        seat, ticket = await self._take_seat(model, account)
        try:
            worker = await self._loaded(seat)
            await seat.queue.turn(ticket, on_wait)
            if not worker.alive:
                raise worker.failure("ended while this request waited")
            yield worker
        finally:
            seat.queue.leave(ticket)
            self._leave(seat)

    def http(self) -> aiohttp.ClientSession:
        """The client towards workers. No connection is used twice: llama.cpp closes after a stream unannounced."""
        import aiohttp

        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, limit=0), trust_env=False, auto_decompress=False,
                read_bufsize=BUFFER,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=self._settings.worker_silence_s))
        return self._http

    async def condemn(self, worker: WorkerProcess) -> None:
        """Stop a worker that hangs. Whoever else it answers gets an error; the next request starts another."""
        await worker.stop(kindly=False)

    def loaded(self) -> list[dict[str, Any]]:
        """What is loaded or loading now: model, engine, state, busy, waiting, pid (None while loading)."""
        return [{"model": seat.model.exact_name, "engine": seat.model.engine.name,
                 "state": "leaving" if seat.leaving else "ready" if seat.worker else "loading",
                 "busy": seat.busy, "waiting": seat.queue.waiting,
                 "pid": seat.worker.endpoint.pid if seat.worker else None}
                for seat in self._seats.values()]

    def waiting(self) -> list[Waiting]:
        """Every request that waits for a turn, for a model to load or for room, next ones first in each model."""
        now = time.monotonic()
        found = [Waiting(seat.model, ticket.account, "turn" if seat.worker else "loading", ticket.position,
                         now - ticket.since)
                 for seat in self._seats.values() for ticket in seat.queue.tickets()]
        return found + [Waiting(model, account, "room", place, now - since)
                        for place, (model, account, since) in enumerate(self._lobby.values(), 1)]

    async def close(self) -> None:
        """Stop every worker. Nothing can be held afterwards."""
        self._closed = True
        for seat in list(self._seats.values()):
            self._dismiss(seat)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    # --- seats

    async def _take_seat(self, model: ChatModel, account: str) -> tuple[Seat, Ticket]:
        if (taken := self._try_seat(model, account)) is not None:
            return taken
        self._bound_lobby(account)
        place = object()
        self._lobby[place] = model, account, time.monotonic()
        try:
            async with asyncio.timeout(ROOM_WAIT_S):
                while (taken := self._try_seat(model, account)) is None:
                    await self._news.wait()
        except TimeoutError:
            raise Busy(f"All {self._settings.workers_max} places for models are taken by busy ones.", retry_after=10,
                       hint="Try again shortly, or raise workers_max.") from None
        finally:
            del self._lobby[place]
        return taken

    def _bound_lobby(self, account: str) -> None:
        mine = sum(name == account for _, name, _ in self._lobby.values())
        if len(self._lobby) >= self._settings.chat_queue_max or mine >= self._settings.chat_queue_user_max:
            raise Busy(f"{len(self._lobby)} requests wait for room for a model already, {mine} of them yours.",
                       retry_after=10)

    def _try_seat(self, model: ChatModel, account: str) -> tuple[Seat, Ticket] | None:
        """A seat with this request counted in, and its place there; None when one must be waited for."""
        if self._closed:
            raise Unavailable("This hub is shutting down.")
        seat = self._seats.get(model.key)
        if seat is None and len(self._seats) < self._settings.workers_max:
            seat = self._new_seat(model)
        if seat is None or seat.leaving:
            if seat is None:
                self._make_room()
            return None
        ticket = seat.queue.enter(account)
        seat.busy += 1
        if seat.unload:
            seat.unload.cancel()
        return seat, ticket

    def _new_seat(self, model: ChatModel) -> Seat:
        failure = self._failures.get(model.key)
        if failure and (wait := failure.wait_s(time.monotonic())) > 0:
            raise EngineFailed(f"{failure.error.message}\nFailed {failure.count} times; the next try is possible in "
                               f"{wait:.0f} s.", hint=failure.error.hint)
        queue = FairQueue(self._ledger, slots=self._slots(model), all_max=self._settings.chat_queue_max,
                          user_max=self._settings.chat_queue_user_max)
        seat = self._seats[model.key] = Seat(model, queue)
        seat.loading = asyncio.create_task(self._load(model))
        self._spawn(self._watch(seat))
        return seat

    def _slots(self, model: ChatModel) -> int:
        return min(model.engine.slots, self._settings.worker_slots or model.engine.slots)

    def _make_room(self) -> None:
        """Let the least recently used idle model go, unless one is going already."""
        idle = [seat for seat in self._seats.values() if seat.busy == 0]
        if idle and not any(seat.leaving for seat in self._seats.values()):
            self._dismiss(min(idle, key=lambda seat: seat.used_at))

    def _leave(self, seat: Seat) -> None:
        seat.busy -= 1
        seat.used_at = time.monotonic()
        if seat.busy == 0 and not seat.loading.done():  # nobody wants it any more: stop the load
            self._dismiss(seat)
        if seat.busy == 0 and not seat.leaving:
            seat.unload = asyncio.get_running_loop().call_later(self._settings.worker_idle_s, self._unload_idle, seat)
        self._tell()

    def _unload_idle(self, seat: Seat) -> None:
        if seat.busy == 0:
            self._dismiss(seat)

    def _dismiss(self, seat: Seat) -> None:
        """Stop the worker of a seat; _watch() clears the seat once it is gone."""
        if seat.leaving:
            return
        seat.leaving = True
        if seat.unload:
            seat.unload.cancel()
        worker = seat.worker
        if worker is None:
            seat.loading.cancel()
        else:
            self._spawn(worker.stop())

    # --- workers

    async def _loaded(self, seat: Seat) -> WorkerProcess:
        """The seat's worker. A request that goes away does not stop the loading while others wait for it."""
        try:
            worker = await asyncio.shield(seat.loading)
            seat.queue.open(self._slots(seat.model))
            return worker
        except asyncio.CancelledError:
            if seat.loading.cancelled():  # it was not this request that was cancelled: the hub closes
                raise Unavailable("This hub is shutting down.") from None
            raise

    async def _load(self, model: ChatModel) -> WorkerProcess:
        snapshot = await asyncio.to_thread(self._lay_out, model.repo, model.commit)
        return await WorkerProcess.start(model, snapshot, self._settings, self.http())

    async def _watch(self, seat: Seat) -> None:
        """From the start of loading until the process is gone: then the seat is free, and why is remembered."""
        try:
            worker = await asyncio.shield(seat.loading)
            await worker.ended()
            await worker.stop(kindly=False)  # children it may have left behind
            if not seat.leaving:
                self._note_failure(seat, worker.failure("ended unasked"), lived=time.monotonic() - worker.started_at)
        except asyncio.CancelledError:  # dismissed while loading
            pass
        except HeadwaterError as failed:
            self._note_failure(seat, failed, lived=0)
        except Exception:  # whatever broke the loading is told to those who wait for it; here the seat is cleared
            log.exception("loading %s failed", seat.model.exact_name)
        finally:
            if seat.unload:
                seat.unload.cancel()
            if self._seats.get(seat.model.key) is seat:
                del self._seats[seat.model.key]
            self._tell()

    def _note_failure(self, seat: Seat, error: HeadwaterError, lived: float) -> None:
        before = self._failures.pop(seat.model.key, None)
        count = before.count + 1 if before and lived < HEALTHY_S else 1
        self._failures[seat.model.key] = _Failure(count, time.monotonic(), error)
        while len(self._failures) > FAILURES_MAX:
            self._failures.popitem(last=False)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
