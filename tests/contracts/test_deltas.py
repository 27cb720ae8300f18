"""What every Deltas keeps to: one deep, held bases, states in order. SQLite and PostgreSQL."""

from __future__ import annotations

import threading

import pytest
from record_samples import HOUR, digest

A, B, C, PACKED = (digest(name) for name in ("a", "b", "c", "packed"))


@pytest.fixture
def deltas(world):
    repo = world.repo()
    world.records.holdings.grant_all(repo, {A: 5, B: 5, C: 5}, seconds=HOUR)
    world.records.holdings.kept_all([A, B, C])
    return world.records.deltas


def test_a_difference_goes_through_its_states_and_no_other_way(deltas):
    assert deltas.begin(A, B, PACKED, 3)
    row = deltas.get(A)
    assert (row.base, row.packed, row.size, row.state) == (B, PACKED, 3, "making")
    assert not deltas.begin(A, B, PACKED, 3), "somebody is at it"
    assert not deltas.turn(A, "leaving") and deltas.turn(A, "ready") and deltas.turn(A, "leaving")
    assert deltas.bases([A, B, C]) == {B} and [r.digest for r in deltas.all()] == [A]
    deltas.forget(A)
    assert deltas.get(A) is None and not deltas.turn(A, "ready")


def test_no_chain_of_two_comes_about(deltas):
    assert deltas.begin(A, B, PACKED, 3)
    assert not deltas.begin(C, A, PACKED, 3) and not deltas.begin(B, C, PACKED, 3)
    assert not deltas.begin(C, C, PACKED, 3) and not deltas.begin(C, digest("nothing"), PACKED, 3)
    assert deltas.begin(C, B, PACKED, 3)


def test_of_two_that_would_each_be_the_others_base_one_is_refused(deltas):
    answers = []
    both = [threading.Thread(target=lambda one=one, two=two: answers.append(deltas.begin(one, two, PACKED, 3)))
            for one, two in ((A, B), (B, A))]
    [thread.start() for thread in both]
    [thread.join() for thread in both]
    assert sorted(answers) == [False, True]


def test_what_saved_too_little_is_noted_and_may_be_tried_again(deltas):
    deltas.passed_over(A)
    deltas.passed_over(A)
    assert deltas.get(A).state == "plain" and deltas.all() == []
    assert deltas.begin(C, A, PACKED, 3) and deltas.of([A, C]).keys() == {A, C}
    deltas.forget(C)
    assert deltas.begin(A, B, PACKED, 3) and deltas.get(A).state == "making"


def test_a_base_is_not_swept_while_a_difference_names_it_and_the_row_goes_with_its_bytes(world, deltas):
    assert deltas.begin(A, B, PACKED, 3) and deltas.turn(A, "ready")
    assert deltas.stranded() == [], "a lease holds the base"
    world.clock.at += 2 * HOUR
    gone = world.records.holdings.sweep(grace_s=0, limit=9, delete=lambda _: None)
    assert {d for d, _ in gone} == {A, C} and deltas.get(A) is None
    gone = world.records.holdings.sweep(grace_s=0, limit=9, delete=lambda _: None)
    assert {d for d, _ in gone} == {B}


def test_one_whose_base_nothing_else_holds_is_stranded_while_it_is_wanted(world, deltas):
    assert deltas.begin(A, B, PACKED, 3) and deltas.turn(A, "ready")
    world.clock.at += 2 * HOUR
    assert deltas.stranded() == [], "nobody wants either"
    world.records.holdings.grant_all(world.repo("two"), {A: 5}, seconds=HOUR)
    assert [row.digest for row in deltas.stranded()] == [A]
