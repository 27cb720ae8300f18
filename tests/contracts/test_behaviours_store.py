"""What every Behaviours keeps to: orders, what was found, answers as they come in. SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.core.descent import Behaviour


@pytest.fixture
def store(world):
    return world.records.behaviours


def ordered(repo, name="closed", at="one"):
    return Behaviour(f"{at} {name}", repo.id, repo.head, "https://api.example/v1", name, ((repo.id, repo.head),), 400,
                     "me")


def test_an_order_is_kept_once_and_goes_with_its_repo(world, store):
    repo = world.repo()
    one = ordered(repo)
    assert store.get(one.id) is None and store.order(one)
    kept = store.get(one.id)
    assert kept == replace(one, at=world.clock.at) and store.of(repo.id) == [kept]
    assert store.beside(one.url, "closed") == [kept] and store.beside(one.url, "another") == []
    world.records.repos.delete(repo, by=world.me)
    assert store.get(one.id) is None and store.of(repo.id) == [] and not store.order(one)


def test_what_was_found_is_forgotten_when_it_is_ordered_anew(world, store):
    repo = world.repo()
    store.order(ordered(repo))
    first = store.get("one closed")
    assert store.found(first, {"agree": 3, "says": "é"})
    assert store.get("one closed").found == {"agree": 3, "says": "é"}
    world.clock.at += 5
    assert store.order(ordered(repo)) and store.get("one closed").found is None
    assert not store.found(first, {"agree": 4}) and store.get("one closed").found is None


def test_the_newest_of_a_repo_is_told_first_and_the_oldest_of_a_closed_model(world, store):
    one, two = world.repo(), world.repo("two")
    store.order(ordered(one, at="a"))
    world.clock.at += 1
    store.order(ordered(one, "other", at="b"))
    store.order(ordered(two, at="c"))
    assert [b.id for b in store.of(one.id)] == ["b other", "a closed"]
    assert [b.id for b in store.beside("https://api.example/v1", "closed")] == ["a closed", "c closed"]


def test_answers_are_put_behind_one_another_and_nobody_elses_are_lost(world, store):
    assert store.answers("them") == []
    assert store.answer("them", 0, ["a", "é"]) == 2 and store.answer("them", 2, ["c"]) == 3
    assert store.answer("them", 2, ["late"]) == 3 and store.answer("them", 7, ["early"]) == 3
    assert store.answers("them") == ["a", "é", "c"] and store.answers("others") == []
    assert store.answer("them", 0, []) == 0 and store.answers("them") == []


def test_old_answers_are_forgotten(world, store):
    store.answer("old", 0, ["a"])
    world.clock.at += 10
    store.answer("new", 0, ["b"])
    store.forget(world.clock.at)
    assert store.answers("old") == [] and store.answers("new") == ["b"]
