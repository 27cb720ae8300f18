"""What is left of a day: by account, by token, until midnight."""

import pytest

from headwater.chat.quotas import DAY_S, Quotas, QuotaSpent
from headwater.core.settings import load
from headwater.core.types import Access, Account, Actor

ADA = Account(1, "ada", False, "", None, False, 0.0)


def actor(token_id=None):
    return Actor(ADA, Access.READ, token_id, token_id and f"t{token_id}")


class Clock:
    at = DAY_S * 20_000 + 3600.0

    def __call__(self):
        return self.at


def made(tmp_path, **flags):
    clock = Clock()
    return Quotas(load(tmp_path, flags, environ={}), clock), clock


def test_requests_of_an_account_end_for_the_day_and_come_back_with_the_next(tmp_path):
    quotas, clock = made(tmp_path, user_requests_per_day=2)
    quotas.take(actor(1))
    quotas.take(actor(2))
    with pytest.raises(QuotaSpent, match="account ada has used 2 of 2 requests") as refused:
        quotas.take(actor())
    assert refused.value.status == 429 and refused.value.retry_after == 23 * 3600 + 1
    clock.at += refused.value.retry_after
    quotas.take(actor())


def test_tokens_count_when_an_answer_has_ended(tmp_path):
    quotas, _ = made(tmp_path, user_tokens_per_day=100)
    for _ in range(2):
        quotas.take(actor())
        quotas.used(actor(), 60)
    with pytest.raises(QuotaSpent, match="120 of 100 tokens"):
        quotas.take(actor())


def test_one_token_spends_nothing_of_another(tmp_path):
    quotas, _ = made(tmp_path, token_requests_per_day=1, token_tokens_per_day=10)
    quotas.take(actor(1))
    with pytest.raises(QuotaSpent, match="token 't1' has used 1 of 1 requests"):
        quotas.take(actor(1))
    quotas.take(actor(2))
    quotas.take(actor())


def test_without_settings_there_is_no_limit(tmp_path):
    quotas, _ = made(tmp_path)
    for _ in range(1000):
        quotas.take(actor(1))
        quotas.used(actor(1), 10**6)
