"""What the records keep of what models are asked: sums of a day, and responses. On SQLite and on PostgreSQL."""

from __future__ import annotations

import threading

from headwater.core.types import KeptResponse
from headwater.storage.records import open_records

DAY = 86_400.0


def kept(world, name, text="hello", under_way=False):
    at = world.clock()
    return KeptResponse(name, at, {"id": name, "output": text}, [{"type": "message", "content": text}],
                        at if under_way else None)


def add(world, response, account=None, user_bytes=10_000, seconds=30 * DAY):
    return world.records.responses.add((account or world.ann).id, response, user_bytes=user_bytes, seconds=seconds)


def test_what_many_gateways_spend_at_once_is_summed_and_none_is_lost(world):
    def gateway():
        for _ in range(20):
            world.records.spending.spend(5, {"account:1": (1, 10), "token:7": (1, 10), "account:2": (0, 0)})

    threads = [threading.Thread(target=gateway) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.records.spending.spend(5, {"account:1": (0, 0), "token:7": (0, 0), "account:2": (0, 0)}) == {
        "account:1": (80, 800), "token:7": (80, 800), "account:2": (0, 0)}


def test_days_are_apart_and_old_ones_are_forgotten(world):
    spend = world.records.spending.spend
    spend(5, {"a": (1, 2)})
    assert spend(6, {"a": (0, 0)}) == {"a": (0, 0)}
    world.records.spending.forget(6)
    assert spend(5, {"a": (0, 0)}) == {"a": (0, 0)}


def test_a_response_is_its_accounts_alone(world):
    other = world.account("eve")
    one = kept(world, "resp_1", "\ud83d\x00 海")  # what a broken stream may hold, and no database takes as text
    assert add(world, one)
    store = world.records.responses
    assert store.get(world.ann.id, "resp_1") == one
    assert store.get(other.id, "resp_1") is None and not store.delete(other.id, "resp_1")
    store.ask_cancel(other.id, "resp_1")
    assert store.delete(world.ann.id, "resp_1") and store.get(world.ann.id, "resp_1") is None


def test_old_responses_and_the_oldest_beyond_an_accounts_bytes_go(world):
    store, other = world.records.responses, world.account("eve")
    add(world, kept(world, "of-eve"), other)
    for n in range(4):
        add(world, kept(world, f"r{n}", "x" * 200), user_bytes=1200)
        world.clock.at += 1
    assert [n for n in range(4) if store.get(world.ann.id, f"r{n}")] == [2, 3]
    assert not add(world, kept(world, "large", "x" * 2000), user_bytes=1200)
    assert store.get(world.ann.id, "r3") and store.get(world.ann.id, "large") is None
    world.clock.at += 31 * DAY
    assert store.get(other.id, "of-eve")
    add(world, kept(world, "new"))
    assert store.get(other.id, "of-eve") is None and store.get(world.ann.id, "r3") is None


def test_one_under_way_is_told_to_stop_when_cancelled_or_deleted_and_stays_deleted(world):
    store = world.records.responses
    for name in ("a", "b", "c"):
        add(world, kept(world, name, under_way=True))
    assert store.beat(["a", "b", "c"]) == set()
    world.clock.at += 5
    store.ask_cancel(world.ann.id, "a")
    store.delete(world.ann.id, "b")
    assert store.beat(["a", "b", "c"]) == {"a", "b"}
    assert store.get(world.ann.id, "c").heartbeat_at == world.clock()
    done = kept(world, "b", "done")
    assert not store.replace(done) and store.get(world.ann.id, "b") is None
    assert store.replace(kept(world, "c", "done")) and store.get(world.ann.id, "c").heartbeat_at is None


def test_what_was_spent_and_answered_is_there_for_a_hub_started_anew(world, tmp_path, database_url):
    add(world, kept(world, "resp_1"))
    world.records.spending.spend(5, {"a": (1, 2)})
    again = open_records(database_url, tmp_path, world.clock)
    assert again.responses.get(world.ann.id, "resp_1") and again.spending.spend(5, {"a": (0, 0)}) == {"a": (1, 2)}
    again.close()
