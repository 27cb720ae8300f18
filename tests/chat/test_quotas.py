"""What is left of a day: by account, by token, until midnight, and what the records are told of it."""

import asyncio

import pytest

from headwater.chat import quotas as module
from headwater.chat.quotas import DAY_S, Quotas, QuotaSpent
from headwater.core.errors import Unavailable
from headwater.core.settings import load
from headwater.core.types import Access, Account, Actor

ADA = Account(1, "ada", False, "", None, False, 0.0)


def actor(token_id=None):
    return Actor(ADA, Access.READ, token_id, token_id and f"t{token_id}")


class Clock:
    at = DAY_S * 20_000 + 3600.0

    def __call__(self):
        return self.at


def made(tmp_path, spending=None, **flags):
    clock = Clock()
    return Quotas(load(tmp_path, flags, environ={}), spending, clock), clock


def test_requests_of_an_account_end_for_the_day_and_come_back_with_the_next(tmp_path):
    async def story():
        quotas, clock = made(tmp_path, user_requests_per_day=2, user_tokens_per_day=500)
        await quotas.take(actor(1))
        await quotas.take(actor(2))
        with pytest.raises(QuotaSpent, match=r"account ada has used 2 of 2 requests.*0 are left.*in 23 h 0 min") as no:
            await quotas.take(actor())
        assert no.value.status == 429 and no.value.retry_after == 23 * 3600 + 1
        assert no.value.headers == {
            "X-RateLimit-Limit-Requests": "2", "X-RateLimit-Remaining-Requests": "0",
            "X-RateLimit-Reset-Requests": "82801s", "X-RateLimit-Limit-Tokens": "500",
            "X-RateLimit-Remaining-Tokens": "500", "X-RateLimit-Reset-Tokens": "82801s"}
        clock.at += no.value.retry_after
        await quotas.take(actor())
        assert [line.used for line in await quotas.left(actor(1))] == [1, 0, 0, 0]

    asyncio.run(story())


def test_tokens_count_when_an_answer_has_ended(tmp_path):
    async def story():
        quotas, _ = made(tmp_path, user_tokens_per_day=100)
        for _ in range(2):
            await quotas.take(actor())
            quotas.used(actor(), 60)
        with pytest.raises(QuotaSpent, match="120 of 100 tokens"):
            await quotas.take(actor())

    asyncio.run(story())


def test_one_token_spends_nothing_of_another(tmp_path):
    async def story():
        quotas, _ = made(tmp_path, token_requests_per_day=1, token_tokens_per_day=10)
        await quotas.take(actor(1))
        with pytest.raises(QuotaSpent, match="token 't1' has used 1 of 1 requests"):
            await quotas.take(actor(1))
        await quotas.take(actor(2))
        await quotas.take(actor())

    asyncio.run(story())


def test_without_settings_there_is_no_limit_and_the_records_are_told_nothing_before_an_answer(world, tmp_path):
    class Counted:
        asked = 0

        def spend(self, *given):
            self.asked += 1
            return world.records.spending.spend(*given)

        def forget(self, before):
            world.records.spending.forget(before)

    async def story():
        counted = Counted()
        quotas, _ = made(tmp_path, counted)
        for _ in range(1000):
            await quotas.take(actor(1))
            quotas.used(actor(1), 10**6)
        assert counted.asked == 0
        await quotas.close()
        assert counted.asked == 1

    asyncio.run(story())
    assert world.records.spending.spend(20_000, {"account:1": (0, 0)}) == {"account:1": (1000, 10**9)}


def test_gateways_on_one_database_share_a_limit_and_a_new_one_knows_what_was_spent(world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    monkeypatch.setattr(module, "FLUSH_S", 0.02)

    async def story():
        one, two = (made(tmp_path, world.records.spending, user_requests_per_day=4)[0] for _ in range(2))
        for quotas in (one, two, one, two):
            await quotas.take(actor(1))
            await asyncio.sleep(0.1)
        third = made(tmp_path, world.records.spending, user_requests_per_day=4)[0]
        for quotas in (one, two, third):
            with pytest.raises(QuotaSpent, match="4 of 4"):
                await quotas.take(actor(1))
        for quotas in (one, two, third):
            await quotas.close()

    asyncio.run(story())


def test_what_a_database_that_is_away_was_not_told_it_is_told_later(world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_S", 0.02)

    class Away:
        away = True

        def spend(self, *given):
            if self.away:
                raise Unavailable("The database does not answer.")
            return world.records.spending.spend(*given)

        def forget(self, before):
            world.records.spending.forget(before)

    async def story():
        store = Away()
        quotas, clock = made(tmp_path, store)
        await quotas.take(actor())
        clock.at += DAY_S  # it is told of the day in which it was spent
        quotas.used(actor(), 7)
        await asyncio.sleep(0.1)
        store.away = False
        await asyncio.sleep(0.2)
        assert world.records.spending.spend(20_000, {"account:1": (0, 0)}) == {"account:1": (1, 0)}
        assert world.records.spending.spend(20_001, {"account:1": (0, 0)}) == {"account:1": (0, 7)}
        await quotas.close()

    asyncio.run(story())


def test_a_clock_that_jumps_back_neither_frees_nor_locks_anybody(world, tmp_path):
    async def story():
        quotas, clock = made(tmp_path, world.records.spending, user_requests_per_day=2)
        await quotas.take(actor())
        clock.at += 3 * DAY_S
        await quotas.take(actor())
        clock.at -= 3 * DAY_S
        await quotas.take(actor())  # the first day goes on where it stood
        with pytest.raises(QuotaSpent, match="2 of 2"):
            await quotas.take(actor())
        await quotas.close()

    asyncio.run(story())
