"""Whose turn it is. One queue a loaded model, one ledger for all: who used least lately goes first.

Knows accounts by name only, and neither models nor workers. Everything here runs in one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from headwater.core.errors import Busy

HALF_LIFE_S = 60.0
"""What an account used counts half after this long."""
TURN_COST_S = 1.0
"""A turn counts at least this: many short ones at once do not pass for nothing."""
ACCOUNTS_MAX = 10_000
TELL_AFTER_S, TELL_EVERY_S = 1.0, 10.0
"""Whoever waits less is told nothing; after that every change, and at least so often, so that no proxy hangs up."""

OnWait = Callable[[int], Awaitable[None]]
"""Awaited with the position, 1 being next, while a request waits."""


class Ledger:
    """Slot-seconds that accounts used lately, in all queues together, those of running requests included."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self.now = now
        self._used: dict[str, tuple[float, float]] = {}
        self._running: dict[str, dict[object, float]] = {}

    def used(self, account: str) -> float:
        now = self.now()
        amount, at = self._used.get(account, (0.0, now))
        running = sum(max(0.0, now - since - TURN_COST_S) for since in self._running.get(account, {}).values())
        return amount * 0.5 ** ((now - at) / HALF_LIFE_S) + running

    def begin(self, account: str, turn: object) -> None:
        self._charge(account, TURN_COST_S)
        self._running.setdefault(account, {})[turn] = self.now()

    def end(self, account: str, turn: object) -> None:
        turns = self._running[account]
        self._charge(account, max(0.0, self.now() - turns.pop(turn) - TURN_COST_S))
        if not turns:
            del self._running[account]

    def _charge(self, account: str, seconds: float) -> None:
        now = self.now()
        amount, at = self._used.pop(account, (0.0, now))
        self._used[account] = amount * 0.5 ** ((now - at) / HALF_LIFE_S) + seconds, now
        if len(self._used) > ACCOUNTS_MAX:  # the one that took a turn longest ago
            self._used.pop(next(iter(self._used)))


@dataclass(eq=False)
class Ticket:
    """One request's place. position: 1 is next, 0 has its turn. number: the order in which all came."""

    account: str
    since: float
    number: int
    position: int = 0
    has_turn: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class FairQueue:
    """Requests before one model. Closed until open() says how many may have their turn at once.

    slots: how many that will be, as far as is known; so many may come in whoever they are.
    all_max, user_max: how many may wait beyond those, in all and of one account.
    """

    _numbers = itertools.count(1)

    def __init__(self, ledger: Ledger, *, slots: int, all_max: int, user_max: int):
        self._ledger, self._slots, self._all_max, self._user_max = ledger, slots, all_max, user_max
        self._open = False
        self._waiting: dict[str, deque[Ticket]] = {}
        self._running: dict[Ticket, float] = {}
        self._served: dict[str, int] = {}
        self._turns = 0
        self._typical_s = TURN_COST_S

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def tickets(self) -> list[Ticket]:
        """Those that wait, in the order in which they will have their turn if nothing changes."""
        return sorted((ticket for line in self._waiting.values() for ticket in line), key=lambda t: t.position)

    def open(self, slots: int) -> None:
        """From now on this many have their turn at once."""
        self._open, self._slots = True, slots
        self._advance()

    def enter(self, account: str) -> Ticket:
        """A place at the end of this account's line. Raises Busy if it, or all together, wait for too much."""
        free = max(0, self._slots - self.running)
        mine, waiting = len(self._waiting.get(account, ())), self.waiting
        if waiting - free >= self._all_max:
            raise Busy(f"The model is busy, and {waiting} requests wait for it already.", retry_after=self.expected_s())
        if mine - free >= self._user_max:
            raise Busy(f"You have {mine} requests waiting for this model already.", retry_after=self.expected_s(),
                       hint="Wait for some answers, or raise chat_queue_user_max.")
        ticket = Ticket(account, self._ledger.now(), next(self._numbers))
        self._waiting.setdefault(account, deque()).append(ticket)
        self._advance()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give back a turn, or the place in the line. Needed once for every enter()."""
        if ticket.has_turn:
            took = self._ledger.now() - self._running.pop(ticket)
            self._typical_s += (max(took, 0.1) - self._typical_s) / 8
            self._ledger.end(ticket.account, ticket)
        else:
            line = self._waiting[ticket.account]
            line.remove(ticket)
            if not line:
                del self._waiting[ticket.account]
        self._advance()

    async def turn(self, ticket: Ticket, on_wait: OnWait | None = None) -> None:
        """Wait for the turn. When this is cancelled, leave() has still to be called."""
        told, tell_at = 0, self._ledger.now() + TELL_AFTER_S
        while not ticket.has_turn:
            ticket.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if on_wait is None else max(0.0, tell_at - self._ledger.now())):
                    await ticket.changed.wait()
            now = self._ledger.now()
            due = now >= tell_at or (told and ticket.position != told)
            if on_wait is not None and due and not ticket.has_turn:
                told, tell_at = ticket.position, now + TELL_EVERY_S
                await on_wait(told)

    def expected_s(self) -> int:
        """Whole seconds until whoever comes now could have a turn, by what turns took lately; from 1 to 120."""
        return int(min(120.0, max(1.0, self._typical_s * (self.waiting + 1) / max(1, self._slots))))

    def _advance(self) -> None:
        """Give turns while there are slots, then tell those that wait where they stand."""
        while self._open and self._waiting and self.running < self._slots:
            account = min(self._waiting, key=lambda name: (self._ledger.used(name), self._served.get(name, 0),
                                                           self._waiting[name][0].number))
            line = self._waiting[account]
            ticket = line.popleft()
            if not line:
                del self._waiting[account]
            self._turns += 1
            self._served[account] = self._turns
            self._running[ticket] = self._ledger.now()
            self._ledger.begin(account, ticket)
            ticket.position, ticket.has_turn = 0, True
            ticket.changed.set()
        self._number()
        if not self._waiting and not self._running:
            self._served.clear()

    def _number(self) -> None:
        """Positions, by playing out the turns to come, each as long as turns were lately."""
        cost = max(TURN_COST_S, self._typical_s)
        heads = [(self._ledger.used(name), self._served.get(name, 0), line[0].number, name)
                 for name, line in self._waiting.items()]
        heapq.heapify(heads)
        lines = {name: iter(line) for name, line in self._waiting.items()}
        played = self._turns
        position = 0
        while heads:
            used, _, number, name = heapq.heappop(heads)
            ticket = next(lines[name], None)
            if ticket is None:
                continue
            position, played = position + 1, played + 1
            if ticket.position != position:
                ticket.position = position
                ticket.changed.set()
            heapq.heappush(heads, (used + cost, played, number, name))
