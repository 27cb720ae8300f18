"""Workers are loaded once, kept few, never taken from under an answer, and gone when they should be.

Real processes of the markov engine throughout: it starts in a third of a second and keeps the whole contract.
"""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from chat_made import asking, busy, chat_over, is_gone, until
from engine_samples import cut_smollm2, markov

from headwater.chat import workers
from headwater.chat.complete import complete
from headwater.chat.process import environment, threads
from headwater.chat.types import Finished, Piece, Started
from headwater.core.errors import Busy, EngineFailed
from headwater.core.settings import load
from headwater.core.types import ANYONE


async def answer(chat, model, **fields):
    async with aclosing(complete(chat, ANYONE, asking(model, **fields))) as events:
        return [event async for event in events]


async def begin(chat, model, **fields):
    """An answer under way: (the iterator, to be closed; its Started)."""
    events = complete(chat, ANYONE, asking(model, **fields))
    return events, await anext(events)


def folders(tmp_path, *names, **config):
    for name in names:
        markov(tmp_path / name, **config)
    return {f"me/{name}": tmp_path / name for name in names}


def endless(tmp_path, *names, speed=100):
    return folders(tmp_path, *names, text="tick tock ", tokens_per_second=speed)


def pids(chat):
    return {one["model"].split("@")[0]: one["pid"] for one in chat.workers.loaded()}


def test_twenty_requests_at_once_load_a_model_once(tmp_path):
    async def story():
        async with chat_over(folders(tmp_path, "a")) as (chat, shelf):
            answers = await asyncio.gather(*(answer(chat, "me/a", seed=n) for n in range(20)))
            assert shelf.laid == ["me/a"] and len(chat.workers.loaded()) == 1
            for events in answers:
                assert isinstance(events[0], Started) and isinstance(events[-1], Finished)
                assert len(events) - 2 == events[-1].usage.completion_tokens

    asyncio.run(story())


def test_the_least_recently_used_idle_model_makes_room(tmp_path):
    async def story():
        async with chat_over(folders(tmp_path, "a", "b", "c"), workers_max=2) as (chat, _):
            for model in ("me/a", "me/b", "me/a", "me/c"):
                await answer(chat, model)
            assert set(pids(chat)) == {"me/a", "me/c"}

    asyncio.run(story())


def test_a_busy_model_is_never_unloaded(tmp_path):
    async def story():
        models = endless(tmp_path, "a", "b")
        async with chat_over(models, workers_max=1, worker_idle_s=0) as (chat, _):
            events, _ = await begin(chat, "me/a")
            other = asyncio.create_task(answer(chat, "me/b", max_tokens=1))
            for _ in range(50):
                assert isinstance(await anext(events), Piece)
            assert list(pids(chat)) == ["me/a"] and not other.done()
            await events.aclose()
            assert isinstance((await other)[-1], Finished)

    asyncio.run(story())


def test_without_room_a_request_is_told_when_to_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "ROOM_WAIT_S", 0.3)

    async def story():
        async with chat_over(endless(tmp_path, "a", "b"), workers_max=1) as (chat, _):
            events, _ = await begin(chat, "me/a")
            with pytest.raises(Busy) as refused:
                await answer(chat, "me/b")
            assert refused.value.retry_after > 0
            await events.aclose()

    asyncio.run(story())


def test_more_requests_than_may_wait_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.engines.markov.ENGINE.slots", 2, raising=False)

    async def story():
        async with chat_over(endless(tmp_path, "a"), chat_queue_max=3) as (chat, _):
            asked = [asyncio.create_task(answer(chat, "me/a")) for _ in range(5)]
            await until(lambda: _busy_is(chat, 2))
            assert [one["waiting"] for one in chat.workers.loaded()] == [3]
            with pytest.raises(Busy):
                await answer(chat, "me/a")
            for task in asked[2:]:
                task.cancel()
            await until(lambda: chat.workers.loaded()[0]["waiting"] == 0, 5)
            assert await busy(chat) == 2, "those who give up waiting disturb nobody"
            for task in asked:
                task.cancel()
            await until(lambda: _idle(chat), 5)

    asyncio.run(story())


async def _idle(chat):
    return await busy(chat) == 0


def test_an_unused_model_is_unloaded_and_comes_back(tmp_path):
    async def story():
        async with chat_over(folders(tmp_path, "a"), worker_idle_s=1) as (chat, shelf):
            await answer(chat, "me/a")
            [pid] = pids(chat).values()
            await until(lambda: not chat.workers.loaded(), 20)
            assert is_gone(pid)
            await answer(chat, "me/a")
            assert shelf.laid == ["me/a", "me/a"]

    asyncio.run(story())


def test_a_killed_worker_ends_its_streams_with_an_error_and_others_live(tmp_path):
    async def story():
        async with chat_over(endless(tmp_path, "a", "b")) as (chat, _):
            a, _ = await begin(chat, "me/a")
            b, _ = await begin(chat, "me/b")
            os.kill(pids(chat)["me/a"], signal.SIGKILL)
            with pytest.raises(EngineFailed, match="died in the middle of an answer"):
                while True:
                    await anext(a)
            for _ in range(30):
                assert isinstance(await anext(b), Piece)
            await b.aclose()
            started = time.monotonic()
            events = await answer(chat, "me/a", max_tokens=2)
            assert isinstance(events[-1], Finished) and time.monotonic() - started < 10

    asyncio.run(story())


def test_a_hung_worker_is_stopped_after_the_silence_allowed(tmp_path):
    async def story():
        async with chat_over(endless(tmp_path, "a"), worker_silence_s=2) as (chat, _):
            events, _ = await begin(chat, "me/a")
            [pid] = pids(chat).values()
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(EngineFailed, match="said nothing for 2 s"):
                while True:
                    await anext(events)
            assert is_gone(pid)
            assert isinstance((await answer(chat, "me/a", max_tokens=2))[-1], Finished)

    asyncio.run(story())


def test_a_model_that_cannot_start_says_why_and_is_not_tried_for_ever(tmp_path):
    cut_smollm2(tmp_path / "cut")

    async def story():
        async with chat_over({"me/cut": tmp_path / "cut"}) as (chat, shelf):
            for _ in range(2):
                with pytest.raises(EngineFailed, match=r"llama.cpp cannot load SmolLM2.*bytes") as failed:
                    await answer(chat, "me/cut")
                assert failed.value.status == 503
            with pytest.raises(EngineFailed, match="Failed 2 times"):
                await answer(chat, "me/cut")
            assert len(shelf.laid) == 2
            await asyncio.sleep(1.1)
            with pytest.raises(EngineFailed):
                await answer(chat, "me/cut")
            assert len(shelf.laid) == 3

    asyncio.run(story())


def test_a_model_that_is_too_large_for_its_limit_fails_alone(tmp_path):
    markov(tmp_path / "a")

    async def story():
        async with chat_over({"me/a": tmp_path / "a"}, worker_memory_bytes=30_000_000) as (chat, _):
            with pytest.raises(EngineFailed, match="did not start"):
                await answer(chat, "me/a")

    asyncio.run(story())


def test_hanging_up_stops_the_worker_within_half_a_second(tmp_path):
    async def story():
        async with chat_over(endless(tmp_path, "a")) as (chat, _):
            took = []
            for _ in range(3):
                task = asyncio.create_task(answer(chat, "me/a"))
                await until(lambda: _busy_is(chat, 1))
                task.cancel()
                took.append(await until(lambda: _idle(chat), 5))
            assert min(took) < 0.5

    asyncio.run(story())


async def _busy_is(chat, count):
    return await busy(chat) == count


def test_giving_up_while_a_model_loads_leaves_the_load_to_others(tmp_path):
    async def story():
        async with chat_over(folders(tmp_path, "a")) as (chat, shelf):
            gone = asyncio.create_task(answer(chat, "me/a"))
            stays = asyncio.create_task(answer(chat, "me/a"))
            await asyncio.sleep(0.1)
            gone.cancel()
            assert isinstance((await stays)[-1], Finished)
            assert shelf.laid == ["me/a"]

    asyncio.run(story())


def test_closing_during_loads_and_answers_leaves_no_process(tmp_path):
    async def story():
        async with chat_over(endless(tmp_path, "a", "b")) as (chat, _):
            events, _ = await begin(chat, "me/a")
            loading = asyncio.create_task(answer(chat, "me/b"))
            await asyncio.sleep(0.1)
        for work in (loading, anext(events)):
            with pytest.raises(Exception, match=r"shutting down|answer"):
                await work

    asyncio.run(story())


def test_a_worker_sees_none_of_our_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_IMPORT_TOKEN", "hf_secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3_secret")

    async def story():
        async with chat_over(folders(tmp_path, "a")) as (chat, _):
            await answer(chat, "me/a")
            [pid] = pids(chat).values()
            process = psutil.Process(pid)
            seen = process.environ()
            assert not {"HEADWATER_IMPORT_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"} & set(seen)
            assert set(seen) - set(environment("")) <= {"LC_CTYPE"}
            key = chat.workers._seats[next(iter(chat.workers._seats))].worker.endpoint.key
            assert key not in " ".join(process.cmdline()), "anybody may list command lines"

    asyncio.run(story())


@pytest.mark.skipif(sys.platform != "linux", reason="limits are read from /proc")
def test_a_worker_runs_within_limits(tmp_path):
    async def story():
        async with chat_over(folders(tmp_path, "a"), worker_memory_bytes=2_000_000_000) as (chat, _):
            await answer(chat, "me/a")
            [pid] = pids(chat).values()
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert "Max address space         2000000000" in limits
            assert "Max core file size        0 " in limits

    asyncio.run(story())


def test_threads_leave_a_core_free_and_a_setting_overrules():
    assert threads(load(Path("/nonexistent"), {}, environ={}), 0.0) == max(1, len(os.sched_getaffinity(0)) - 1)
    assert threads(load(Path("/nonexistent"), {"worker_threads": 7}, environ={})) == 7


def test_threads_leave_the_cores_to_others_that_work_but_take_half(monkeypatch):
    monkeypatch.setattr("headwater.chat.process._cores", lambda: 16)
    assert [threads(load(Path("/nonexistent"), {}, environ={}), busy) for busy in (0, 1, 4.4, 12, 99)] == [
        15, 15, 12, 8, 8]


def test_no_worker_outlives_a_gateway_that_is_killed(tmp_path):
    markov(tmp_path / "a", text="tick tock ", tokens_per_second=50)
    gateway = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from chat_made import asking, chat_over
        from headwater.core.types import ANYONE
        from headwater.chat.complete import complete
        async def main():
            async with chat_over({"me/a": Path(sys.argv[1])}) as (chat, _):
                async for event in complete(chat, ANYONE, asking("me/a")):
                    print(chat.workers.loaded()[0]["pid"], flush=True)
        asyncio.run(main())
    """)
    process = subprocess.Popen([sys.executable, "-c", gateway, str(tmp_path / "a")], stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})
    pid = int(process.stdout.readline())
    assert not is_gone(pid)
    process.kill()
    process.wait()
    until_gone = time.monotonic() + 5
    while not is_gone(pid) and time.monotonic() < until_gone:
        time.sleep(0.02)
    assert is_gone(pid)


def test_two_models_that_race_for_one_place_are_both_answered(tmp_path):
    async def story():
        async with chat_over(folders(tmp_path, "a", "b"), workers_max=1) as (chat, _):
            asked = [answer(chat, f"me/{'ab'[n % 2]}", seed=n) for n in range(10)]
            for events in await asyncio.gather(*asked):
                assert isinstance(events[-1], Finished)
            assert len(chat.workers.loaded()) == 1

    asyncio.run(story())


def test_a_stranger_on_the_workers_port_gets_neither_key_nor_question(tmp_path, monkeypatch):
    heard = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *args):
            pass

    async def story(port):
        monkeypatch.setattr("headwater.chat.process.free_port", lambda: port)
        async with chat_over(folders(tmp_path, "a")) as (chat, _):
            with pytest.raises(EngineFailed, match="address already in use"):
                await answer(chat, "me/a")

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asyncio.run(story(server.server_port))
        server.shutdown()
    assert heard and set(heard) == {("/health", None)}
