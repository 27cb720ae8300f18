"""Which models are loaded. Loads each once however many ask, keeps a few, unloads what nobody uses.

Three gates stand between a request and a worker, each a place where more policy can go: a seat (is there room
for this model), loading (is it healthy), a turn (whose turn it is when the engine has a hand free: queue.py).
Knows nothing of HTTP clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.chat import admission, form, prompts
from headwater.chat.admission import DoesNotFit, Estimate, Plan
from headwater.chat.form import Form
from headwater.chat.process import WorkerProcess, build_in, settings_for
from headwater.chat.queue import FairQueue, Ledger, OnWait, Ticket
from headwater.chat.types import ChatModel
from headwater.core.errors import Busy, Conflict, EngineFailed, HeadwaterError, Unavailable
from headwater.core.settings import Settings
from headwater.core.types import Commit, Repo, Snapshot
from headwater.weights.speech import Speech

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger("headwater.worker")

ROOM_WAIT_S = 30.0
"""How long a request waits for a place when every loaded model is busy, before it is answered Busy."""
HEALTHY_S = 60.0
"""A worker that lived this long is no crash loop, whatever ended it."""
BACKOFF_MAX_S = 60.0
FAILURES_MAX = 256
MEASURE_EVERY_S = 2.0
BUFFER = 32 * 1024
"""Of each stream's bytes at most twice this waits in the gateway for a slow reader; also the longest event."""


class Seat:
    """The place of one model: loading, ready or leaving. `busy` counts the requests that hold it."""

    def __init__(self, model: ChatModel, queue: FairQueue):
        self.model, self.queue = model, queue
        self.busy = 0
        self.used_at = time.monotonic()
        self.leaving = False
        self.plan: Plan | None = None
        self.measured_at = 0.0
        self.loading: asyncio.Task[WorkerProcess]
        self.unload: asyncio.TimerHandle | None = None
        self.form: Form | None = None
        self.kept: Path | None = None
        self.runs: tuple[Settings, Snapshot] | None = None
        """What its worker was started with."""
        self.unkept = False
        """Whether it has read something that is not on disk yet."""

    @property
    def measured_as(self) -> Any:
        """What a measurement of its memory holds for."""
        return self.model.key, self.form and self.form.name

    @property
    def taken(self) -> int:
        """Bytes of memory to count for it: what was planned, or more if it has come to more."""
        held = admission.resident(self.worker.endpoint.pid) if self.worker else 0
        return max(held, self.plan.bytes if self.plan else 0)

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

    def __init__(self, settings: Settings, lay_out: Callable[[Repo, Commit], Snapshot],
                 speech: Callable[[Repo, Commit], Speech | None] = lambda repo, commit: None):
        self._settings, self._lay_out, self._speech = settings, lay_out, speech
        self._seats: dict[Any, Seat] = {}
        self._failures: OrderedDict[Any, _Failure] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._news = asyncio.Event()
        self._ledger = Ledger()
        self._pinned: set[Any] = set()
        self._took: OrderedDict[Any, tuple[Plan, int]] = OrderedDict()
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
        """What is loaded or loading now: model, engine, adapters, state, pinned, busy, waiting, memory_bytes, slots,
        context and pid, the last four None while that is not known."""
        return [{"model": seat.model.exact_name, "engine": seat.model.engine.name,
                 "adapters": [f"{one.repo.full_name}@{one.commit.oid}" for one in seat.model.adapters],
                 "state": "leaving" if seat.leaving else "ready" if seat.worker else "loading",
                 "pinned": seat.model.key in self._pinned, "busy": seat.busy, "waiting": seat.queue.waiting,
                 "memory_bytes": seat.taken or None, "slots": seat.plan and seat.plan.slots,
                 "context": seat.plan and seat.plan.context,
                 "pid": seat.worker.endpoint.pid if seat.worker else None}
                for seat in self._seats.values()]

    async def pin(self, model: ChatModel) -> None:
        """Load it if need be, and never unload it to make room or for want of use. Raises as hold() does."""
        before = model.key in self._pinned
        self._pinned.add(model.key)  # first, so that it is given a worker of its own
        try:
            async with self.hold(model):
                pass
        except BaseException:
            if not before:
                self._pinned.discard(model.key)
            raise

    def unpin(self, model: ChatModel) -> None:
        self._pinned.discard(model.key)
        seat = self._seats.get(model.key)
        if seat is not None and seat.busy == 0:
            self._unload_later(seat)

    def unload(self, model: ChatModel) -> bool:
        """Let it go now, with adapters or not, pinned or not; False if it is not loaded. Raises Conflict while it
        answers."""
        self._pinned.discard(model.key)
        seats = [seat for seat in self._seats.values() if seat.model.covers(model)]
        if busy := sum(seat.busy for seat in seats):
            raise Conflict(f"{model.repo.full_name} has {busy} requests now.", hint="Try again when it is idle.")
        for seat in seats:
            self._dismiss(seat)
        return bool(seats)

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
        self._bound_lobby(model, account)
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

    def _bound_lobby(self, model: ChatModel, account: str) -> None:
        """As many may wait for a model that is not loaded as its queue would take once it is: those it answers at
        once, and those who wait then."""
        waiting = [name for other, name, _ in self._lobby.values() if other.key == model.key]
        mine, slots = waiting.count(account), self._slots(model)
        if (len(waiting) >= slots + self._settings.chat_queue_max
                or mine >= slots + self._settings.chat_queue_user_max):
            raise Busy(f"{len(waiting)} requests wait for room for this model already, {mine} of them yours.",
                       retry_after=10)

    def _try_seat(self, model: ChatModel, account: str) -> tuple[Seat, Ticket] | None:
        """A seat with this request counted in, and its place there; None when one must be waited for."""
        if self._closed:
            raise Unavailable("This hub is shutting down.")
        seat = self._seats.get(model.key) or self._covering(model)
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

    def _covering(self, model: ChatModel) -> Seat | None:
        """A seat of the same model with its adapters and more: which of them are applied is each request's affair.
        None for a pinned model, which has a worker of its own."""
        if model.key in self._pinned:
            return None
        return next((seat for seat in self._seats.values() if seat.model.covers(model) and not seat.leaving), None)

    def _new_seat(self, model: ChatModel) -> Seat:
        failure = self._failures.get(model.key)
        if failure and (wait := failure.wait_s(time.monotonic())) > 0:
            raise EngineFailed(f"{failure.error.message}\nFailed {failure.count} times; the next try is possible in "
                               f"{wait:.0f} s.", hint=failure.error.hint)
        queue = FairQueue(self._ledger, slots=self._slots(model), all_max=self._settings.chat_queue_max,
                          user_max=self._settings.chat_queue_user_max)
        seat = self._seats[model.key] = Seat(model, queue)
        seat.loading = asyncio.create_task(self._load(seat))
        self._spawn(self._watch(seat))
        return seat

    def _slots(self, model: ChatModel) -> int:
        return min(model.engine.slots, self._settings.worker_slots or model.engine.slots)

    def _make_room(self) -> bool:
        """Let the least recently used idle model go, unless one is going already. False if none is or can."""
        if any(seat.leaving for seat in self._seats.values()):
            return True
        idle = [seat for seat in self._seats.values() if seat.busy == 0 and seat.model.key not in self._pinned]
        if idle:
            self._dismiss(min(idle, key=lambda seat: seat.used_at))
        return bool(idle)

    def _leave(self, seat: Seat) -> None:
        seat.busy -= 1
        seat.used_at = time.monotonic()
        if seat.busy == 0 and not seat.loading.done():  # nobody wants it any more: stop the load
            self._dismiss(seat)
        self._note_memory(seat)
        if seat.busy == 0 and not seat.leaving:
            self._unload_later(seat)
            if seat.kept is not None:
                seat.unkept = True
                asyncio.get_running_loop().call_later(prompts.KEEP_AFTER_S, self._keep_quiet, seat)
        self._tell()

    def _unload_later(self, seat: Seat) -> None:
        seat.unload = asyncio.get_running_loop().call_later(self._settings.worker_idle_s, self._unload_idle, seat)

    def _unload_idle(self, seat: Seat) -> None:
        if seat.busy == 0 and seat.model.key not in self._pinned:
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
            self._spawn(self._retire(seat, worker))

    async def _retire(self, seat: Seat, worker: WorkerProcess) -> None:
        await self._keep(seat, worker)
        await worker.stop()

    def _keep_quiet(self, seat: Seat) -> None:
        """Keep what an idle worker has read, unless it was used again meanwhile."""
        quiet = seat.busy == 0 and time.monotonic() - seat.used_at >= prompts.KEEP_AFTER_S - 0.5
        if quiet and not seat.leaving and seat.worker:
            self._spawn(self._keep(seat, seat.worker))

    async def _keep(self, seat: Seat, worker: WorkerProcess) -> None:
        if seat.kept is not None and seat.unkept and worker.alive:
            seat.unkept = False
            await prompts.keep(self.http(), worker, seat.kept, seat.plan.slots if seat.plan else 1, self._settings)

    # --- workers

    async def _loaded(self, seat: Seat) -> WorkerProcess:
        """The seat's worker. A request that goes away does not stop the loading while others wait for it."""
        try:
            worker = await asyncio.shield(seat.loading)
            seat.queue.open(seat.plan.slots if seat.plan else 1)
            return worker
        except asyncio.CancelledError:
            if seat.loading.cancelled():  # it was not this request that was cancelled: the hub closes
                raise Unavailable("This hub is shutting down.") from None
            raise

    async def _load(self, seat: Seat) -> WorkerProcess:
        """A worker of the seat's model; where an engine has another way to run it, that is the second try."""
        model = seat.model
        snapshot = await asyncio.to_thread(self._lay_out, model.repo, model.commit)
        settings = await asyncio.to_thread(settings_for, model, snapshot, self._settings)
        try:
            return await self._start(seat, snapshot, settings)
        except EngineFailed as failed:
            other = getattr(model.engine, "instead", lambda _: None)(settings)
            if other is None:
                raise
            log.warning("%s is tried another way: %s", model.exact_name, failed)
            worker = await self._start(seat, snapshot, other)
            await asyncio.to_thread(model.engine.gave_up, settings, snapshot, model.path, str(failed))
            return worker

    async def _start(self, seat: Seat, snapshot: Snapshot, settings: Settings) -> WorkerProcess:
        model, seat.runs = seat.model, (settings, snapshot)
        build = build_in(model, settings)
        estimate = await asyncio.to_thread(admission.estimate, model, snapshot)
        seat.form = await self._form(seat, snapshot, build, estimate)
        estimate = form.grown(estimate, seat.form, snapshot, model)
        if seat.measured_as in self._took:
            estimate = estimate.corrected(*self._took[seat.measured_as])
        plan = await self._admit(seat, estimate)
        build += form.says(seat.form)
        beside = [await asyncio.to_thread(self._lay_out, one.repo, one.commit) for one in model.adapters]
        files = [Path(laid.folder) / one.path for laid, one in zip(beside, model.adapters, strict=True)]
        seat.kept = prompts.place(self._settings, model, snapshot, build, plan.context)
        told = {**await asyncio.to_thread(self._told, model), **(seat.form.environ() if seat.form else {}),
                **prompts.environ(seat.kept)}
        worker = await WorkerProcess.start(model, snapshot, settings, self.http(), plan, files, told, build)
        worker.speech = await asyncio.to_thread(self._speech, model.repo, model.commit)
        if seat.kept is not None:
            await prompts.restore(self.http(), worker, seat.kept, plan.slots)
        return worker

    async def _form(self, seat: Seat, snapshot: Snapshot, build: str, estimate: Estimate) -> Form | None:
        """The form that was found fastest here, where its file is there and there is room for it beside the others."""
        found = await asyncio.to_thread(form.chosen, self._settings, seat.model, snapshot, build)
        if found is None:
            return None
        if not found.file.is_file():
            self._spawn(self._write_again(seat.model, snapshot, found))
            return None
        whole = form.grown(estimate, found, snapshot, seat.model).with_room(
            self._slots(seat.model), self._settings.chat_context)
        return found if whole.bytes <= self._room(seat) else None

    async def _write_again(self, model: ChatModel, snapshot: Snapshot, lost: Form) -> None:
        """A form that was deleted, for the next load; this one goes on with what there is."""
        log.warning("the form %s of %s is gone and is written again", lost.name, model.exact_name)

        def tell(_: int) -> None:
            if self._closed:
                raise Unavailable("This hub is shutting down.")

        try:
            await asyncio.to_thread(form.write, self._settings, model, snapshot, lost, tell)
        except (HeadwaterError, OSError) as error:
            log.warning("the form %s of %s cannot be written: %s", lost.name, model.exact_name, error)

    def _told(self, model: ChatModel) -> dict[str, str]:
        """What the engine has its worker told of how the model is spoken with."""
        if not hasattr(model.engine, "told") or (speech := self._speech(model.repo, model.commit)) is None:
            return {}
        return model.engine.told(speech)

    # --- memory

    async def _admit(self, seat: Seat, estimate: Estimate) -> Plan:
        """The best way to load it for which there is memory; idle models go for it, pinned and busy ones do not.

        Fewer slots are taken before another model has to go, less context only when none can. Raises DoesNotFit,
        or Busy when those in use did not leave in time.
        """
        slots, context = self._slots(seat.model), self._settings.chat_context
        whole = list(admission.plans(estimate, slots, context))
        every = [*whole, *admission.short_plans(estimate, context)]
        if every[-1].bytes > (limit := admission.limit(self._settings)):
            raise DoesNotFit(admission.numbers(seat.model, every[-1], limit, "is all that models may take here"),
                             hint=admission.HINT)
        until = time.monotonic() + ROOM_WAIT_S
        while True:
            room = self._room(seat)
            seat.plan = next((plan for plan in whole if plan.bytes <= room), None)
            if seat.plan is None and not self._make_room():
                seat.plan = next((plan for plan in every if plan.bytes <= room), None)
            if seat.plan is not None:
                return seat.plan
            if len(self._seats) == 1:
                raise DoesNotFit(admission.numbers(seat.model, every[-1], room, "is free on this machine now"),
                                 hint=admission.HINT)
            if time.monotonic() > until:
                raise Busy(admission.numbers(seat.model, every[-1], room, "is free beside models that are in use"),
                           retry_after=10)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._news.wait()

    def _room(self, seat: Seat) -> int:
        """Bytes this model may take now: of what models may take, and of what the machine has free."""
        others = [other for other in self._seats.values() if other is not seat]
        promised = sum(max(0, other.plan.bytes - (admission.resident(other.worker.endpoint.pid) if other.worker else 0))
                       for other in others if other.plan)
        return max(0, min(admission.limit(self._settings) - sum(other.taken for other in others),
                          admission.available() - promised))

    def _note_memory(self, seat: Seat) -> None:
        """Remember what the worker took, once it has answered: that corrects the estimate of the next load."""
        now, worker = time.monotonic(), seat.worker
        if seat.plan is None or worker is None or not worker.alive or now - seat.measured_at < MEASURE_EVERY_S:
            return
        seat.measured_at = now
        took = max(admission.resident(worker.endpoint.pid), self._took.pop(seat.measured_as, (None, 0))[1])
        self._took[seat.measured_as] = seat.plan, took
        while len(self._took) > FAILURES_MAX:
            self._took.popitem(last=False)

    # --- health

    async def _watch(self, seat: Seat) -> None:
        """From the start of loading until the process is gone: then the seat is free, and why is remembered."""
        try:
            worker = await asyncio.shield(seat.loading)
            code = await worker.ended()
            await worker.stop(kindly=False)  # children it may have left behind
            if not seat.leaving:
                failed = worker.failure("ended unasked")
                await self._blame_build(seat, code, failed)
                self._note_failure(seat, failed, lived=time.monotonic() - worker.started_at)
        except asyncio.CancelledError:  # dismissed while loading
            pass
        except (DoesNotFit, Busy):  # nothing was started; the next request asks anew whether there is room
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

    async def _blame_build(self, seat: Seat, code: int, failed: EngineFailed) -> None:
        """No model makes a program run into instructions there are not: the next load goes another way."""
        if code == -signal.SIGILL and seat.runs and (gave_up := getattr(seat.model.engine, "gave_up", None)):
            settings, snapshot = seat.runs
            await asyncio.to_thread(gave_up, settings, snapshot, seat.model.path, str(failed))

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
