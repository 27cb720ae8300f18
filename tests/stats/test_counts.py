"""Exact intervals and tests, against published figures and against counting everything."""

import itertools
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.stats.counts import at_most, binomial_tail, holm, share_interval, sign_test


@pytest.mark.parametrize(("found", "tried", "low", "high"), [
    (0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (1, 100, 0.0003, 0.0545),
    (4, 20, 0.0573, 0.4366)])
def test_intervals_are_those_of_the_tables_of_clopper_and_pearson(found, tried, low, high):
    assert share_interval(found, tried) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_none_of_n_is_less_than_three_in_n():
    for n in (30, 703, 1128, 100_000):
        assert 0.95 * 3 / n < at_most(0, n) < 3 / n
        assert at_most(0, n) == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-6)
    assert share_interval(0, 0) == (0.0, 1.0)


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 1))
def test_a_binomial_tail_is_the_sum_of_its_terms(least, tried, chance):
    whole = sum(comb(tried, k) * chance**k * (1 - chance)**(tried - k) for k in range(least, tried + 1))
    assert binomial_tail(least, tried, chance) == pytest.approx(whole, rel=1e-9, abs=1e-12)


def test_the_sign_test_counts_coins():
    assert sign_test(5, 0) == pytest.approx(1 / 32)
    assert sign_test(0, 0) == 1.0


def test_holm_is_his_example_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_at_least_as_strict_as_one_test_and_at_most_as_bonferroni(values):
    for value, adjusted in zip(values, holm(values), strict=True):
        assert value <= adjusted <= min(1, value * len(values)) + 1e-12
    for one, two in itertools.permutations(range(len(values)), 2):
        if values[one] < values[two]:
            assert holm(values)[one] <= holm(values)[two]
