"""Tests that share something dear run in one of pytest's processes, and a browser leaves no loop to the next file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("groups")
HERE = Path(__file__).parent

MARKED = """
import os, time, pytest
pytestmark = pytest.mark.xdist_group("dear")

@pytest.mark.parametrize("number", range(4))
def test_a(number):
    time.sleep(0.03)
    with open({log!r}, "a") as log:
        log.write(f"dear {{os.environ['PYTEST_XDIST_WORKER']}}\\n")
"""
ALONE = """
import os, time, pytest

@pytest.mark.parametrize("address", ["a@b", "plain", "c", "d"])
def test_a(address):
    time.sleep(0.03)
    with open({log!r}, "a") as log:
        log.write(f"{{__name__}} {{os.environ['PYTEST_XDIST_WORKER']}}\\n")
"""


def _run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *argv], cwd=folder,
                          env={**kept, "PYTHONPATH": str(HERE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
                          capture_output=True, text=True, timeout=60)


def test_a_file_and_the_files_of_a_group_stay_in_one_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # The first two go to one process each, if nothing keeps them together.
    texts = {"a_dear": MARKED, "b_dear": MARKED, "c": ALONE, "d": ALONE, "e": ALONE}
    for name, text in texts.items():
        (tmp_path / f"test_{name}.py").write_text(text.format(log=str(log)))
    done = _run(tmp_path, "-p", "xdist.plugin", "-p", "conftest_groups", "-n", "2", "--dist", "loadgroup")
    assert "20 passed" in done.stdout, done.stdout + done.stderr
    where = defaultdict(set)
    for line in log.read_text().splitlines():
        group, worker = line.split()
        where[group].add(worker)
    assert {group: len(workers) for group, workers in where.items()} == {
        "dear": 1, "test_c": 1, "test_d": 1, "test_e": 1}
    assert set.union(*where.values()) == {"gw0", "gw1"}


def test_the_group_of_a_test_is_in_its_id(request: pytest.FixtureRequest) -> None:
    """As the process that hands them out reads it. Those of this very run."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("not under --dist loadgroup")
    assert request.node.nodeid.endswith("@groups")


def test_after_a_browser_a_loop_can_run(tmp_path: Path) -> None:
    """In one process, in the order they are named."""
    (tmp_path / "test_page.py").write_text(
        "import pytest\n\ndef test_page(chromium):\n    assert chromium.version\n")
    (tmp_path / "test_loop.py").write_text(
        "import asyncio\n\ndef test_loop():\n    asyncio.run(asyncio.sleep(0))\n")
    done = _run(tmp_path, "-p", "conftest_browser", "-rs", "test_page.py", "test_loop.py")
    if "1 skipped" in done.stdout:
        pytest.skip("Chromium is not installed")
    assert "2 passed" in done.stdout, done.stdout + done.stderr
