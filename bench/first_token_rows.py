"""Time to the first token of a conversation of 2,000 tokens, and of its second turn: the hub, bare llama.cpp,
transformers and OpenVINO on the same file, with the same threads, asked in turns in one run.

Peers that are not here or fail are left out and told: .venvs/torch (transformers), .venvs/bench (`pip install
openvino-genai`), and a native build of llama.cpp (`headwater engine build`) in the folder BENCH_ENGINES names.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import ground
from chat_rows import _add, _file
from ground import Row

ROUNDS, THREADS = int(os.environ.get("BENCH_FIRST_ROUNDS", "1")), 2
"""A round is some 10,000 tokens read: few."""
PEER_S = 180
ROOT = Path(__file__).parents[1]
SYSTEM, ANSWER, SECOND = "You know rivers.", "They all run to the sea.", "Which of them is the longest?"


class PeerFailed(Exception):
    """A program beside ours ended or was too slow: it has no row, the others have."""


Ask = Callable[[int], tuple[float, float]]
"""Round to (seconds to the first token of the first turn, and of the second)."""


def rows() -> Iterator[Row]:
    asks: dict[str, Ask] = {}
    with ground.folder() as folder, ExitStack() as stack:
        wheel = folder / "wheel" / "data"
        wheel.mkdir(parents=True)
        url = stack.enter_context(ground.hub(wheel, worker_threads=THREADS, llamacpp_build="wheel"))
        added = _add(url)
        path = _named(folder, _file(wheel, added))
        asks["Headwater, wheel, as stored"] = _over_http(url, "hf_any", added["repo"])
        asks["bare llama.cpp, wheel"] = stack.enter_context(_bare(path))
        _with_native(asks, stack, folder, path)
        for name, python in (("OpenVINO", ".venvs/bench"), ("transformers", ".venvs/torch")):
            program = ROOT / python / "bin" / "python"
            if program.exists():
                asks[name] = stack.enter_context(_peer(name, program, path))
            else:
                print(f"{name} is left out: there is no {python}", file=sys.stderr)
        measured = _in_turns(asks)
    for name, times in measured.items():
        if name != "bare llama.cpp, wheel":
            for turn, what in enumerate(("first turn, 2,000 tokens", "second turn")):
                yield Row(f"time to first token, {what}: {name}", "bare llama.cpp, wheel",
                          tuple(one[turn] for one in times),
                          tuple(one[turn] for one in measured["bare llama.cpp, wheel"]), "none",
                          note=f"SmolLM2-135M, {THREADS} threads")


def _in_turns(asks: dict[str, Ask]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in asks}
    for round_ in range(ROUNDS + 1):
        for name, ask in list(asks.items()):
            try:
                took = ask(round_)
            except PeerFailed as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                del asks[name], found[name]
                continue
            if round_:  # the first warms all of them
                found[name].append(took)
                print(f"{name}: {took[0]:.2f} s, {took[1]:.2f} s", file=sys.stderr, flush=True)
    for name, times in found.items():
        first, second = (statistics.median(one[turn] for one in times) for turn in (0, 1))
        print(f"{name}, median: {first:.2f} s, {second:.2f} s", file=sys.stderr)
    return found


def _with_native(asks: dict[str, Ask], stack: ExitStack, folder: Path, path: Path) -> None:
    """A hub with the native build and the form its probe finds, and the build bare."""
    engines = os.environ.get("BENCH_ENGINES")
    if not engines:
        print("native is left out: BENCH_ENGINES names no folder with a build", file=sys.stderr)
        return
    data = folder / "native" / "data"
    data.mkdir(parents=True)
    shutil.copytree(engines, data / "engines", symlinks=True)
    url = stack.enter_context(ground.hub(data, worker_threads=THREADS, llamacpp_build="native"))
    repo = _add(url)["repo"]
    form = _probe(url, repo)
    asks[f"Headwater, native, {form or 'as stored'}"] = _over_http(url, "hf_any", repo)
    build = next((data / "engines").glob("*/build.json")).parent
    asks["bare llama.cpp, native"] = stack.enter_context(_bare(path, HEADWATER_NATIVE_BUILD=str(build)))


def _probe(url: str, repo: str) -> str | None:
    import httpx

    with httpx.Client(base_url=url, timeout=60) as http:
        job = http.post("/api/headwater/engines/forms", json={"model": repo}).raise_for_status().json()
        while job["state"] not in ("done", "failed", "cancelled"):
            time.sleep(0.5)
            job = http.get(f"/api/headwater/jobs/{job['id']}").raise_for_status().json()
    if job["state"] != "done":
        raise RuntimeError(f"the forms could not be tried: {job['error']}")
    for trial in job["result"]["trials"]:
        print(trial, file=sys.stderr)
    return job["result"]["form"]


def _named(folder: Path, blob: Path) -> Path:
    """The file by a name peers know GGUF by."""
    path = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    shutil.copyfile(blob, path)
    return path


def text(round_: int) -> str:
    """Some 2,000 tokens, another text each round; few in the one that warms."""
    places = ("mill", "town", "bridge", "weir", "wood")
    return " ".join(f"River {round_ * 7919 + n} runs past the old {places[n % 5]} and on."
                    for n in range(106 if round_ else 6))


# --- over HTTP


def _over_http(url: str, key: str, model: str) -> Ask:
    def ask(round_: int) -> tuple[float, float]:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text(round_)}]
        first = _first(url, key, model, messages)
        messages += [{"role": "assistant", "content": ANSWER}, {"role": "user", "content": SECOND}]
        return first, _first(url, key, model, messages)

    return ask


def _first(url: str, key: str, model: str, messages: list[dict[str, str]]) -> float:
    import httpx
    from chat_rows import SAID

    body = {"model": model, "stream": True, "max_tokens": 4, "temperature": 0, "messages": messages}
    begin, first = time.perf_counter(), None
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=300,
                      headers={"Authorization": f"Bearer {key}"}) as answer:
        for chunk in answer.iter_raw():
            if first is None and SAID.search(chunk):
                first = time.perf_counter() - begin
    if answer.status_code != 200 or first is None:
        raise RuntimeError(f"{url} answered {answer.status_code} and no token")
    return first


@contextmanager
def _bare(path: Path, **environ: str) -> Iterator[Ask]:
    port = ground.free_port()
    command = [sys.executable, "-m", "headwater.engines.llamacpp", str(path), "--port", str(port),
               "--threads", str(THREADS), "--context", "4096"]
    process = subprocess.Popen(command, env={**os.environ, **environ, "HEADWATER_WORKER_KEY": "bench"},
                               stdin=subprocess.PIPE)
    try:
        ground.wait_for(f"http://127.0.0.1:{port}/health", process)
        yield _over_http(f"http://127.0.0.1:{port}", "bench", "any")
    finally:
        process.kill()
        process.wait(10)


# --- in other environments


@contextmanager
def _peer(name: str, python: Path, path: Path) -> Iterator[Ask]:
    """The program first_token_peer.py: a line of JSON in, the two times out."""
    command = [str(python), str(Path(__file__).with_name("first_token_peer.py")), name, str(path), str(THREADS),
               sysconfig.get_path("purelib")]
    with path.with_name(f"{name}.log").open("w+b") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                   env={**os.environ, "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"})

        def ask(round_: int) -> tuple[float, float]:
            late = threading.Timer(PEER_S, process.kill)
            late.start()
            try:
                process.stdin.write(json.dumps([SYSTEM, text(round_), ANSWER, SECOND]) + "\n")
                process.stdin.flush()
                for line in process.stdout:  # libraries talk too
                    if line.startswith("TOOK "):
                        first, second = json.loads(line[5:])
                        return first, second
            except BrokenPipeError:  # it ended before it read
                pass
            finally:
                late.cancel()
            log.seek(0)
            said = log.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise PeerFailed(f"ended with {process.wait()}: {''.join(said)[-300:]}")

        try:
            yield ask
        finally:
            process.kill()
            process.wait(10)
            process.stdout.close()
            with suppress(BrokenPipeError):
                process.stdin.close()
