"""Real Hugging Face clients of several versions, each in a virtual environment of its own under .venvs/."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

VENVS = Path(__file__).parents[1] / ".venvs"


def client_python(version: str) -> Path:
    """The python of an environment with huggingface_hub==version; made at the first call, by one process at a time."""
    return _environment(f"hf-{version}", [f"huggingface_hub=={version}"])


def torch_python() -> Path:
    """The python of an environment with torch and the libraries that load models and datasets from a hub."""
    # torch first and alone: asked for together, pip may take a newer one than there are CPU wheels for.
    return _environment("torch", ["torch==2.13.0"], ["transformers", "diffusers", "datasets", "accelerate"],
                        later=["ftfy", "torchao"])


def model_clients_python() -> Path:
    """The python of an environment with the clients that talk with models, other than the official openai."""
    return _environment("model-clients", ["anthropic", "litellm", "langchain-openai", "ollama"])


def openai_node() -> Path | str:
    """A folder with node_modules/openai, or the sentence that says why there is none."""
    folder = VENVS / "node-openai"
    if not (shutil.which("npm") and shutil.which("node")):
        return "npm and node are not here: the official openai client for Node cannot be tried"
    folder.mkdir(parents=True, exist_ok=True)
    with open(VENVS / "node-openai.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules" / "openai").is_dir():
            done = subprocess.run(["npm", "install", "--silent", "--prefix", folder, "openai@7"], capture_output=True,
                                  text=True)
            if done.returncode != 0:
                return f"npm could not install openai: {done.stderr.strip()[-300:]}"
    return folder


def run_model_client(code: str, *args: str, timeout: float = 240) -> str:
    """Run `code` beside those clients; what it printed. Raises AssertionError with its errors if it failed."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "TMPDIR") if name in os.environ}
    done = subprocess.run([model_clients_python(), "-c", code, *args], timeout=timeout, capture_output=True, text=True,
                          env={**keep, "LITELLM_LOCAL_MODEL_COST_MAP": "True"})
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def _environment(name: str, *steps: list[str], later: list[str] | None = None) -> Path:
    """later: packages that environments made before they were wanted lack."""
    folder = VENVS / name
    VENVS.mkdir(exist_ok=True)
    with open(VENVS / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            for packages in steps:
                _install(folder, packages)
            (folder / "ready").touch()
        wanted, told = " ".join(later or []), folder / "later"
        if wanted and (not told.exists() or told.read_text() != wanted):
            _install(folder, later or [])
            told.write_text(wanted)
    return folder / "bin" / "python"


def _install(folder: Path, packages: list[str]) -> None:
    done = subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                           *packages], capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        done.check_returncode()


def client_env(endpoint: str, home: Path, token: str | None = None) -> dict[str, str]:
    """The environment a user would have: HF_ENDPOINT and HF_TOKEN, and nothing else about the hub.

    home: becomes HOME, so caches are where the client puts them by default, below it.
    """
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**keep, "HOME": str(home), "HF_ENDPOINT": endpoint, **({"HF_TOKEN": token} if token else {})}


def run_client(version: str, code: str, endpoint: str, home: Path, *, token: str | None = None,
               timeout: float = 120) -> str:
    """Run `code` in the client's environment; what it printed. Raises AssertionError with its errors if it failed."""
    done = subprocess.run([client_python(version), "-c", code], env=client_env(endpoint, home, token), timeout=timeout,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
