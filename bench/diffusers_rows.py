"""Films by diffusion models: the second film of a warm engine beside a script for each, cancelling, bfloat16, words.

The models are of random weights: what is measured is what surrounds the steps, and the steps beside themselves in
another precision. The environment is .venvs/torch, joined with ours as the tests do it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ground
import httpx

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "film")]
ROUNDS = 3
PEER = Path(__file__).with_name("diffusers_peer.py")


def rows() -> Iterator[ground.Row]:
    from diffusers_hub import FilmHub, build_repos, joint_python
    from huggingface_hub import HfApi

    with ground.folder() as folder:
        python = joint_python(folder / "env")
        repos = build_repos(python)
        hub = FilmHub(folder / "data", worker_threads=1)
        hub.PYTHON = str(python)  # type: ignore[misc]
        with hub:
            api = HfApi(endpoint=hub.url, token="hf_whoever")
            api.create_repo("local/wan")
            api.upload_folder(repo_id="local/wan", folder_path=repos / "wan21-t2v")
            ours, theirs = ground.in_turns(
                lambda: _film(hub), lambda: _run(python, "plain", repos / "wan21-t2v", folder / "plain.mp4"), ROUNDS)
            yield ground.Row("a further film of a small Wan (0.3 MB), ordered to signed", "a diffusers script for each",
                             ours, theirs, "< 0.3", note="of the work around the steps: imports and loading are saved, "
                             "credential, poster, sheet and mark are added")
            freed, steps = zip(*(_cancelled(hub) for _ in range(ROUNDS)), strict=True)
            yield ground.Row("from cancel to the next film's first step", "one step of the cancelled film", freed,
                             steps, "", note="256x256, 9 frames; what is over a step is the next film's beginning")
        found = json.loads(_run(python, "inside"))
        size = f"{found['parameters'][0] / 1e6:.0f} M"
        for what, said in (("step", f"a step of a Wan transformer of {size}, 1,280 tokens"),
                           ("decode", "decoding 5 frames of 256x256 by a third of Wan's autoencoder")):
            yield ground.Row(f"{said}, bfloat16", "32 bits", tuple(found[f"{what} bfloat16"]),
                             tuple(found[f"{what} float32"]), "< 1", note="CPU seconds, one thread")
        yield ground.Row("512 tokens of words remembered", "encoded by 8 layers of 512",
                         tuple(found["words remembered"]), tuple(found["words encoded"]), "< 0.2",
                         note="CPU seconds; Wan's own encoder has 24 layers of 4,096")


def _film(hub: object) -> None:
    video = hub.made(hub.order("local/wan"))  # type: ignore[attr-defined]
    if video.status != "completed":
        raise RuntimeError(str(video.error))


def _cancelled(hub: object) -> tuple[float, float]:
    """(seconds from the cancel to the next film's first step, seconds of a step of the one cancelled)"""
    with httpx.Client(base_url=hub.url, timeout=60) as http:  # type: ignore[attr-defined]
        first = hub.order("local/wan", size="256x256", num_inference_steps="200")  # type: ignore[attr-defined]
        seen = _steps(http, first, 1)
        begin = time.perf_counter()
        later = _steps(http, first, seen + 8)
        step = (time.perf_counter() - begin) / (later - seen)
        begin = time.perf_counter()
        http.post(f"/v1/videos/{first}/cancel").raise_for_status()
        second = hub.order("local/wan", num_inference_steps="200")  # type: ignore[attr-defined]
        _steps(http, second, 1)
        took = time.perf_counter() - begin
        http.post(f"/v1/videos/{second}/cancel").raise_for_status()
    return took, step


def _steps(http: httpx.Client, film: str, least: int) -> int:
    """Steps done, once there are so many."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        told = http.get(f"/v1/videos/{film}").json()
        if told["status"] == "failed":
            raise RuntimeError(str(told["error"]))
        if told["headwater"]["stage"] == "denoise" and told["headwater"]["done"] >= least:
            return told["headwater"]["done"]
        time.sleep(0.01)
    raise TimeoutError(film)


def _run(python: Path, *words: object) -> str:
    done = subprocess.run([python, "-I", PEER, *words], capture_output=True, text=True, timeout=900,
                          env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": os.environ.get("HOME", "/")})
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout
