"""Turns go round: nobody starves, nobody's flood passes, positions come true."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.chat import queue as queues
from headwater.chat.queue import FairQueue, Ledger
from headwater.core.errors import Busy


class Clock:
    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


def made(slots=1, all_max=64, user_max=32):
    clock = Clock()
    queue = FairQueue(Ledger(clock), slots=slots, all_max=all_max, user_max=user_max)
    queue.open(slots)
    return queue, clock


def serve(queue, clock, tickets, seconds=2.0):
    """Let everyone have a turn; who had it, in order. `tickets` are all there are."""
    order, left = [], list(tickets)
    while left:
        now = next(ticket for ticket in left if ticket.has_turn)
        order.append(now.account)
        left.remove(now)
        clock.at += seconds
        queue.leave(now)
    return order


def run(story):
    asyncio.run(story())


def test_a_newcomer_passes_the_flood_of_another():
    async def story():
        queue, clock = made()
        flood = [queue.enter("flood") for _ in range(20)]
        clock.at += 5
        guest = queue.enter("guest")
        assert guest.position == 1
        assert serve(queue, clock, [*flood, guest]).index("guest") == 1

    run(story)


def test_turns_go_round_between_accounts_that_ask_as_much():
    async def story():
        queue, clock = made()
        tickets = [queue.enter(name) for name in "abc" for _ in range(4)]
        order = serve(queue, clock, tickets)
        assert all(set(order[n:n + 3]) == set("abc") for n in range(0, 12, 3)), order

    run(story)


def test_who_asks_for_long_answers_gets_fewer_turns():
    async def story():
        queue, clock = made()
        tickets = [queue.enter(name) for name in ("long", "short") for _ in range(8)]
        order, left = [], list(tickets)
        while left:
            now = next(ticket for ticket in left if ticket.has_turn)
            order.append(now.account)
            left.remove(now)
            clock.at += 8 if now.account == "long" else 2
            queue.leave(now)
        assert order[:10].count("short") >= 7, order

    run(story)


def test_use_is_forgotten_and_one_ledger_holds_for_all_models():
    async def story():
        clock = Clock()
        ledger = Ledger(clock)
        one, other = (FairQueue(ledger, slots=1, all_max=9, user_max=9) for _ in range(2))
        for queue in (one, other):
            queue.open(1)
        mine = one.enter("heavy")
        clock.at += 100
        assert ledger.used("heavy") == pytest.approx(0.5 ** (100 / 60) + 99, abs=0.01)
        holder = other.enter("x")
        heavy, light = other.enter("heavy"), other.enter("light")
        assert (heavy.position, light.position) == (2, 1)
        one.leave(mine)
        clock.at += 60 * 12
        assert ledger.used("heavy") < 0.1
        for ticket in (holder, light, heavy):
            other.leave(ticket)

    run(story)


def test_one_account_cannot_fill_the_queue():
    async def story():
        queue, _ = made(slots=2, all_max=10, user_max=4)
        for _ in range(6):
            queue.enter("flood")
        with pytest.raises(Busy, match="You have 4 requests waiting") as refused:
            queue.enter("flood")
        assert refused.value.retry_after >= 1
        for n in range(6):
            queue.enter(f"guest {n}")
        with pytest.raises(Busy, match="10 requests wait"):
            queue.enter("one more")

    run(story)


def test_nobody_has_a_turn_before_the_model_is_loaded():
    async def story():
        queue = FairQueue(Ledger(), slots=2, all_max=9, user_max=9)
        tickets = [queue.enter("a"), queue.enter("a"), queue.enter("b")]
        assert queue.running == 0 and [ticket.position for ticket in tickets] == [1, 3, 2]
        queue.open(2)
        assert [ticket.has_turn for ticket in tickets] == [True, False, True]

    run(story)


def test_those_who_wait_are_told_where_they_stand(monkeypatch):
    monkeypatch.setattr(queues, "TELL_AFTER_S", 0.02)

    async def story():
        queue = FairQueue(Ledger(), slots=1, all_max=9, user_max=9)
        queue.open(1)
        tickets, told = [queue.enter(name) for name in "abc"], []

        async def hear(position):
            told.append(position)

        waits = asyncio.create_task(queue.turn(tickets[2], hear))
        await asyncio.sleep(0.1)
        assert told == [2]
        queue.leave(tickets[0])
        await asyncio.sleep(0.02)
        queue.leave(tickets[1])
        await asyncio.wait_for(waits, 1)
        assert told == [2, 1] and tickets[2].has_turn

    run(story)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["enter", "leave", "give up", "later"]),
                          st.integers(0, 99)), max_size=60), st.integers(1, 3))
def test_whatever_happens_no_slot_stands_idle_and_positions_are_a_row(steps, slots):
    async def story():
        queue, clock = made(slots, all_max=12, user_max=5)
        alive = []
        for account, what, n in steps:
            if what == "enter":
                try:
                    alive.append(queue.enter(account))
                except Busy:
                    assert queue.waiting >= 5
            elif what == "later":
                clock.at += n
            elif some := [t for t in alive if t.has_turn == (what == "leave")]:
                alive.remove(some[n % len(some)])
                queue.leave(some[n % len(some)])
            waiting = [t for t in alive if not t.has_turn]
            assert queue.running == min(slots, len(alive)) and queue.waiting == len(waiting) <= 12
            assert sorted(t.position for t in waiting) == list(range(1, len(waiting) + 1))
        left = queue.tickets()
        for ticket in [t for t in alive if t.has_turn]:
            queue.leave(ticket)
        assert not left or left[0].has_turn, "the first in line is the next"

    run(story)
