"""The chance of fixed points, against counting all permutations; and that no matching favours its own number."""

import itertools

import numpy as np
import pytest

from headwater.stats.matching import greedy_matching, log10_fixed_points


def test_the_chance_is_that_of_counting_all_permutations():
    for n in range(1, 7):
        fixed = [sum(i == j for i, j in enumerate(order)) for order in itertools.permutations(range(n))]
        for least in range(n + 1):
            share = np.mean([f >= least for f in fixed])
            found = 10 ** log10_fixed_points(least, [n])
            assert found == pytest.approx(share)


def test_two_permutations_together_are_counted_together():
    one = [sum(i == j for i, j in enumerate(order)) for order in itertools.permutations(range(4))]
    both = [a + b for a in one for b in one]
    for least in range(9):
        assert 10 ** log10_fixed_points(least, [4, 4]) == pytest.approx(np.mean([f >= least for f in both]))


def test_the_smallest_chance_is_told_where_no_float_could_hold_it():
    assert log10_fixed_points(16 * 40, [16] * 40) == pytest.approx(-13.3206 * 40, abs=0.01)
    assert log10_fixed_points(17, [16]) == -np.inf
    assert log10_fixed_points(3, []) == -np.inf


def test_rows_that_are_all_alike_meet_their_own_number_once_on_average():
    rng = np.random.default_rng(0)
    met = [int((greedy_matching(np.zeros((16, 16)), rng) == np.arange(16)).sum()) for _ in range(300)]
    assert 0.8 < np.mean(met) < 1.2


def test_a_matching_of_unrelated_lists_is_a_random_permutation():
    rng = np.random.default_rng(1)
    met = [int((greedy_matching(rng.integers(0, 5, (8, 8)), rng) == np.arange(8)).sum()) for _ in range(500)]
    assert 0.85 < np.mean(met) < 1.15
    assert 0.8 < np.var(met) < 1.25


def test_what_is_alike_is_matched():
    order = np.random.default_rng(2).permutation(12)
    likeness = np.eye(12)[order]
    assert list(greedy_matching(likeness, np.random.default_rng(3))) == list(order)
