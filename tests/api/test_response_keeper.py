"""Responses in the background, as a hub keeps them: told how far they are, ended for whatever reason, never lost."""

from __future__ import annotations

import asyncio

import pytest

from headwater.api.openai import response_keeper as module
from headwater.api.openai.response_keeper import Keeper
from headwater.api.openai.response_made import MadeResponse
from headwater.core.errors import BadInput, DiskFull, EngineFailed, NotFound
from headwater.core.settings import load


@pytest.fixture
def keeper(world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BEAT_S", 0.03)
    return Keeper(load(tmp_path, {}, environ={}), world.records.responses, world.clock)


def made(**fields):
    return MadeResponse({"model": "a/b", "background": True, **fields}, [{"type": "message", "id": "msg_1"}], [])


async def for_ever():
    await asyncio.Event().wait()


def test_one_that_fails_says_why_and_one_that_breaks_says_nothing_of_the_hub(keeper, world):
    async def fail():
        raise EngineFailed("The worker died.")

    async def break_():
        raise RuntimeError("secret of the hub")

    async def story():
        for work, told in ((fail, "The worker died."), (break_, "Something broke in the hub; its log says what.")):
            response = made()
            await keeper.begin(world.me, response, work)
            await asyncio.sleep(0.1)
            shown = (await keeper.get(world.me, response.id)).shown
            assert (shown["status"], shown["error"]["message"]) == ("failed", told)
        await keeper.close()

    asyncio.run(story())


def test_a_hub_that_is_stopped_says_so_and_one_that_died_is_noticed(keeper, world, tmp_path):
    async def story():
        stopped, lost = made(), made()
        for response in (stopped, lost):
            await keeper.begin(world.me, response, for_ever)
        other = Keeper(load(tmp_path, {}, environ={}), world.records.responses, world.clock)
        assert (await other.get(world.me, lost.id)).shown["status"] == "in_progress"
        await keeper.close()
        shown = (await other.get(world.me, stopped.id)).shown
        assert shown["status"] == "failed" and "was stopped" in shown["error"]["message"]
        dead = made()
        assert await other._add(world.me, dead.kept(world.clock()))  # as a hub that is killed now leaves it
        world.clock.at += module.STALE_S + 1
        shown = (await other.get(world.me, dead.id)).shown
        assert shown["status"] == "failed" and "has ended" in shown["error"]["message"]
        assert (await other.cancel(world.me, dead.id))["status"] == "failed"

    asyncio.run(story())


def test_one_cancelled_or_deleted_elsewhere_stops_here(keeper, world, tmp_path):
    async def story():
        other = Keeper(load(tmp_path, {}, environ={}), world.records.responses, world.clock)
        cancelled, deleted = made(), made()
        for response in (cancelled, deleted):
            await keeper.begin(world.me, response, for_ever)
        assert (await other.cancel(world.me, cancelled.id))["status"] == "cancelled"
        await other.delete(world.me, deleted.id)
        await asyncio.sleep(0.3)
        assert keeper._under_way == {}
        with pytest.raises(NotFound):
            await keeper.get(world.me, deleted.id)
        await keeper.close()

    asyncio.run(story())


def test_a_crowd_in_the_background_is_bounded_and_only_those_there_are_cancelled(keeper, world, monkeypatch):
    monkeypatch.setattr(module, "UNDER_WAY_MAX", 2)

    async def story():
        first = made()
        await keeper.begin(world.me, first, for_ever)
        await keeper.begin(world.me, made(), for_ever)
        with pytest.raises(BadInput, match="2 responses under way"):
            await keeper.begin(world.me, made(), for_ever)
        whole = made(background=False)
        await keeper.add(world.me, whole)
        with pytest.raises(BadInput, match="background=true"):
            await keeper.cancel(world.me, whole.id)
        await keeper.close()

    asyncio.run(story())


def test_one_too_large_to_keep_is_answered_and_says_so(world, tmp_path):
    async def story():
        keeper = Keeper(load(tmp_path, {"responses_user_bytes": 100}, environ={}), world.records.responses, world.clock)
        response = made()
        await keeper.add(world.me, response)
        assert "not kept" in response.warnings[0]
        with pytest.raises(NotFound):
            await keeper.get(world.me, response.id)

    asyncio.run(story())


def test_an_answer_that_cannot_be_kept_is_still_the_clients(world, tmp_path):
    class Full:
        def add(self, *given, **more):
            raise DiskFull("The database's disk is full; nothing was written.")

    async def story():
        keeper = Keeper(load(tmp_path, {}, environ={}), Full(), world.clock)
        response = made()
        await keeper.add(world.me, response)
        assert "disk is full" in response.warnings[0] and response.shown["status"] == "in_progress"
        with pytest.raises(DiskFull):  # one in the background is nothing unless it is kept
            await keeper.begin(world.me, made(), for_ever)

    asyncio.run(story())
