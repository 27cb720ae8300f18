"""docs/recipes/add-an-engine.md is true: its example, copied out, passes every contract test unasked."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_engine_of_the_recipe_keeps_the_contract(tmp_path):
    page = (ROOT / "docs" / "recipes" / "add-an-engine.md").read_text("utf-8")
    engine, sample = re.findall(r"```python\n(.*?)```", page, re.S)
    (tmp_path / "parrot.py").write_text(engine)
    (tmp_path / "parrot_sample.py").write_text(f"import json\nfrom engine_samples import SAMPLES, Sample\n{sample}")
    info = tmp_path / "parrot-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[headwater.engines]\nparrot = parrot\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "parrot_sample", "-p", "no:cacheprovider",
         "tests/contracts/test_engines.py", "-k", "parrot or broken"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT / 'tests'}"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 12
