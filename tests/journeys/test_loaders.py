"""transformers, diffusers and datasets read from the hub, and push to it, unmodified."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from clients import client_env, torch_python


@pytest.mark.timeout(600)
def test_libraries_load_models_pipelines_and_datasets_from_the_hub(open_server, tmp_path):
    script = Path(__file__).with_name("load.py")
    done = subprocess.run([torch_python(), script], env=client_env(open_server.url, tmp_path, "hf_any"), timeout=500,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-6000:]
    assert done.stdout.split("\n")[:3] == ["test_transformers ok", "test_diffusers ok", "test_datasets ok"]
