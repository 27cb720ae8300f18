"""Many at once and many in all, against a scripted engine: nothing lost, little added, nothing kept."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest
import scripted
from engine_samples import KEY, free_port
from model_hub import keep
from server import HubProcess, opened_hub

from headwater.chat.process import environment
from headwater.hub.accounts import owner_actor

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
SECTION = ("Load", "A hub process, a worker whose answers are scripted, clients on the same machine.")
STREAMS, TOKENS, PAUSE_MS = 200, 30, 500
REQUESTS = int(os.environ.get("SOAK_REQUESTS", "10000"))
IDLE = 1000
TOKEN = re.compile(r"[01]@\d{6,} ")


class ScriptedHub(HubProcess):
    PROGRAM = scripted.__file__


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    data = tmp_path_factory.mktemp("soak") / "data"
    with opened_hub(data) as opened:
        keep(opened, owner_actor(opened), "local", "script", script__txt=b"-")
    with ScriptedHub(data) as server:
        assert ask(server.url, "1 token, 0 ms").status_code == 200
        yield server
    assert "Traceback" not in server.tail(), server.tail()


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The same worker without a hub: (url, key)."""
    port = free_port()
    process = subprocess.Popen([sys.executable, scripted.__file__, str(tmp_path_factory.mktemp("bare")), "--port",
                                str(port)], stdin=subprocess.PIPE, env=environment(KEY))
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def body(script, **fields):
    return {"model": "local/script", "messages": [{"role": "user", "content": script}], **fields}


def ask(url, script, **fields):
    return httpx.post(f"{url}/v1/chat/completions", json=body(script, **fields), timeout=60)


async def listen(http, url, seed):
    """(when made in ns, ms until heard) of each token; raises if one is lost, doubled or moved."""
    delays = []
    asked = body(f"{TOKENS} tokens, {PAUSE_MS} ms", stream=True, seed=seed)
    async with http.post(f"{url}/v1/chat/completions", json=asked) as answer:
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            heard = time.monotonic_ns()
            for choice in json.loads(line[6:])["choices"]:
                for token in (choice["delta"].get("content") or "").split():
                    number, _, made = token.partition("@")
                    assert int(number) == len(delays), "a token is lost, doubled or out of order"
                    delays.append((int(made), (heard - int(made)) / 1e6))
    assert len(delays) == TOKENS
    return delays


def measure(url, streams=STREAMS):
    async def run():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0),
                                         headers={"Authorization": f"Bearer {KEY}"}) as http:
            found = await asyncio.gather(*(listen(http, url, n * 1000 // streams) for n in range(streams)))
        # from when all of them talk: before, connections are still being made
        begun = max(delays[0][0] for delays in found)
        late = [delay for delays in found for made, delay in delays if made > begun]
        assert len(late) > STREAMS * TOKENS / 4, "the streams hardly ran side by side"
        return sorted(late)

    return asyncio.run(run())


def p99(delays):
    return delays[len(delays) * 99 // 100]


def test_two_hundred_streams_lose_no_token_and_wait_little_for_the_hub(hub, bare, figures):
    direct, through = measure(bare), measure(hub.url)
    added = p99(through) - p99(direct)
    figures[f"{STREAMS} streams at once, 2 tokens/s each: tokens lost"] = ("0", f"0 of {STREAMS * TOKENS}")
    figures[f"{STREAMS} streams: latency the hub adds to a token, 99th of 100"] = (
        "< 20 ms", f"{added:.1f} ms (bare worker {p99(direct):.1f}, through the hub {p99(through):.1f}; "
                   f"median {direct[len(direct) // 2]:.1f} and {through[len(through) // 2]:.1f})")
    assert added < 20, figures


def test_a_thousand_idle_connections_keep_nobody_waiting(hub, figures):
    before = psutil.Process(hub.process.pid).memory_info().rss
    address = httpx.URL(hub.url)
    held = [socket.create_connection((address.host, address.port)) for _ in range(IDLE)]
    try:
        for one in held[::2]:  # half of them half way into a request
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        took = []
        for _ in range(20):
            start = time.monotonic()
            assert ask(hub.url, "1 token, 0 ms").status_code == 200
            took.append(time.monotonic() - start)
        grown = psutil.Process(hub.process.pid).memory_info().rss - before
    finally:
        for one in held:
            one.close()
    figures[f"a short answer beside {IDLE:,} idle connections, median"] = (
        "< 500 ms", f"{sorted(took)[10] * 1e3:.0f} ms")
    figures[f"memory of an idle connection ({IDLE:,} held)"] = ("< 64 KiB", f"{grown / IDLE / 1024:.1f} KiB")
    assert sorted(took)[10] < 0.5 and grown / IDLE < 64 * 1024


def test_memory_stays_flat_over_many_requests(hub, figures):
    process = psutil.Process(hub.process.pid)

    async def some(http, count):
        todo = iter(range(count))

        async def one_by_one():
            for n in todo:
                async with http.post(f"{hub.url}/v1/chat/completions",
                                     json=body("2 tokens, 0 ms", stream=n % 2 == 0)) as answer:
                    assert answer.status == 200 and len(TOKEN.findall(await answer.text())) == 2

        await asyncio.gather(*(one_by_one() for _ in range(16)))

    async def run():
        async with aiohttp.ClientSession() as http:
            await some(http, max(500, REQUESTS // 5))
            start, before = time.monotonic(), process.memory_info().rss
            await some(http, REQUESTS)
            return process.memory_info().rss - before, time.monotonic() - start

    grown, took = asyncio.run(run())
    figures[f"the hub's memory after {REQUESTS:,} more requests"] = ("flat: < 16 MB", f"{grown / 1e6:+.1f} MB")
    figures["short requests a second, 16 clients"] = ("-", f"{REQUESTS / took:.0f}")
    assert grown < 16_000_000
    assert Path(f"/proc/{process.pid}/fd").exists() is False or process.num_fds() < 200
