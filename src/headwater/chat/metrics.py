"""How chat goes, in figures for Prometheus and one line a request in the log. Never what was said.

Labels name engines and outcomes; neither accounts nor models stand in them, for a model's name may be private.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from headwater.chat.types import ChatEvent, Finished, Origin, Piece, Started
from headwater.chat.workers import Workers
from headwater.core.errors import HeadwaterError

log = logging.getLogger("headwater.chat")

FIRST_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)
BETWEEN_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
HUNG_UP = "hung_up"


class Meter:
    """The figures of one hub, in a registry of its own."""

    def __init__(self, workers: Workers):
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
        self.requests = Counter("headwater_chat_requests", "Chat requests by how they ended: stop, length, tool_calls, "
                                "hung_up or the code of an error.", ["engine", "outcome"], registry=self.registry)
        self.tokens = Counter("headwater_chat_tokens", "Tokens, read or written; pieces where an answer broke off.",
                              ["engine", "kind"], registry=self.registry)
        self.waited = Histogram("headwater_chat_start_seconds", "From the request until the engine has taken it: room, "
                                "loading and queue.", registry=self.registry, buckets=FIRST_BUCKETS)
        self.first = Histogram("headwater_chat_first_token_seconds", "From the request to the first piece of text.",
                               registry=self.registry, buckets=FIRST_BUCKETS)
        self.between = Histogram("headwater_chat_between_tokens_seconds", "Between two pieces of an answer.",
                                 registry=self.registry, buckets=BETWEEN_BUCKETS)
        self.registry.register(_Now(workers))

    def text(self) -> bytes:
        """All figures in Prometheus's text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)

    async def listen(self, account: str, model: str, events: AsyncGenerator[ChatEvent],
                     used: Callable[[int], None]) -> AsyncGenerator[ChatEvent]:
        """The same events, measured. used: told the tokens of the request when it has ended, however it did."""
        with self.measured(account, model, used) as run:
            async with aclosing(events):
                async for event in events:
                    run.note(event)
                    yield event

    @contextmanager
    def measured(self, account: str, model: str, used: Callable[[int], None]) -> Iterator[Run]:
        """Around one request, however it ends; the run is told what comes of it."""
        run = Run(self)
        try:
            yield run
        except HeadwaterError as error:
            run.outcome = error.code
            raise
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            run.outcome = "InternalError"
            raise
        finally:
            used(run.read + run.made)
            run.tell(account, model)


class Run:
    """One request's figures. Until it is known better, it ended because its client hung up."""

    def __init__(self, meter: Meter):
        self.meter, self.start = meter, time.monotonic()
        self.last: float | None = None
        self.first_s: float | None = None
        self.outcome = HUNG_UP
        self.origin: Origin | None = None
        self.read = self.made = 0

    def note(self, event: ChatEvent) -> None:
        now = time.monotonic()
        if isinstance(event, Piece):
            if self.last is None:
                self.first_s = now - self.start
                self.meter.first.observe(self.first_s)
            else:
                self.meter.between.observe(now - self.last)
            self.last = now
            self.made += 1
        elif isinstance(event, Started):
            self.origin = event.origin
            self.meter.waited.observe(now - self.start)
        elif isinstance(event, Finished):
            self.outcome = event.reason
            if event.usage:
                self.read, self.made = event.usage.prompt_tokens, event.usage.completion_tokens

    def answered(self, origin: Origin, read: int) -> None:
        """It made no text, but vectors or scores of so many tokens."""
        self.origin, self.read, self.outcome = origin, read, "stop"

    def tell(self, account: str, model: str) -> None:
        engine = self.origin.engine if self.origin else "none"
        self.meter.requests.labels(engine, self.outcome).inc()
        self.meter.tokens.labels(engine, "read").inc(self.read)
        self.meter.tokens.labels(engine, "written").inc(self.made)
        exact = f"{self.origin.repo}@{self.origin.revision}" if self.origin else repr(model[:200])
        first = "-" if self.first_s is None else f"{self.first_s:.3f}"
        log.info("%s for %s: %s; %d tokens read, %d written, first after %s s, all after %.3f s", exact, account,
                 self.outcome, self.read, self.made, first, time.monotonic() - self.start)


class _Now:
    """What is so at the moment it is asked."""

    def __init__(self, workers: Workers):
        self.workers = workers

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import GaugeMetricFamily

        loaded, waiting = self.workers.loaded(), self.workers.waiting()
        queue = GaugeMetricFamily("headwater_chat_waiting", "Requests that wait now, for what.", labels=["waits_for"])
        for what in ("turn", "loading", "room"):
            queue.add_metric([what], sum(one.what_for == what for one in waiting))
        yield queue
        for name, help_, field in (
            ("headwater_chat_busy", "Requests that hold a model now, waiting ones included.", "busy"),
            ("headwater_chat_slots", "Answers that loaded models can make at once.", "slots"),
            ("headwater_chat_memory_bytes", "Memory counted for loaded models.", "memory_bytes"),
        ):
            yield _by_engine(name, help_, loaded, lambda one, field=field: one[field] or 0)
        yield _by_engine("headwater_chat_models", "Models loaded or loading now.", loaded, lambda one: 1)


def _by_engine(name: str, help_: str, loaded: list[dict[str, Any]], value: Callable[[dict[str, Any]], int]) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, help_, labels=["engine"])
    for engine in sorted({one["engine"] for one in loaded}):
        family.add_metric([engine], sum(value(one) for one in loaded if one["engine"] == engine))
    return family
