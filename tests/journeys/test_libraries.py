"""The libraries people load models and data with, told only where the hub is: transformers, diffusers, datasets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from clients import client_env, torch_python
from server import HubProcess

SCRIPTS = sorted((Path(__file__).parent / "libraries").glob("*_journey.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem.removesuffix("_journey"))
def test_a_library_pushes_and_loads(script: Path, open_server: HubProcess, tmp_path: Path) -> None:
    environ = client_env(open_server.url, tmp_path, "hf_whoever") | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([torch_python(), script], env=environ, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-5000:]
