"""The contract of workers, held by the engine `transformers` in the environment that has torch."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
from clients import VENVS, torch_python

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("torch")


@pytest.mark.skipif(not (VENVS / "torch" / "ready").exists(), reason="no environment with torch: tests/prepare.py")
def test_the_engine_transformers_keeps_the_contract(tmp_path):
    # that environment's packages first, then ours for what it lacks: pytest, aiohttp, Headwater
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.path.append({sysconfig.get_path('purelib')!r})\n")
    paths = f"{tmp_path}:{ROOT / 'src'}:{ROOT / 'tests'}"
    done = subprocess.run(
        [torch_python(), "-m", "pytest", "-p", "no:cacheprovider", "tests/contracts/test_engines.py", "-k",
         "transformers", "-o", "addopts=-q"], cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True,
        text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-6000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 12, done.stdout
