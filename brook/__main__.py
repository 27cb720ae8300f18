"""`make brook`: train what is missing, write the repo, ask it for films, count what is right, write card and docs.

    python -m brook [learn] [write] [measure] [report]     some of the steps; all of them without a word
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from brook import HERE

ROOT = HERE.parent
FOLDER = Path(sys.prefix) / "brook"
"""Checkpoints, latents and films are kept here: in the environment, out of the repo."""
REPO = ROOT / "src" / "headwater" / "shipped" / "brook"
FIGURES = HERE / "figures.json"


def main(words: list[str]) -> int:
    steps = words or ["learn", "write", "measure", "report"]
    FOLDER.mkdir(parents=True, exist_ok=True)
    if "learn" in steps:
        _with_torch("brook.learn", str(FOLDER))
    if "write" in steps:
        _with_torch("brook.learn", str(FOLDER), str(REPO))
        shutil.copy(FOLDER / "log.jsonl", HERE / "log.jsonl")
    if "measure" in steps:
        _with_torch("brook.ask", str(REPO), str(FOLDER / "asked.npz"))
        _measure()
    if "report" in steps:
        _report()
    return 0


def _with_torch(module: str, *words: str) -> None:
    """Run a module in the environment that has torch."""
    sys.path.append(str(ROOT / "tests"))
    from clients import torch_python

    subprocess.run([str(torch_python()), "-W", "ignore", "-m", module, *words], check=True, cwd=ROOT)


def _measure() -> None:
    import numpy as np

    from brook.cases import cases
    from brook.measure import figures
    from brook.picture import sheet

    with np.load(FOLDER / "asked.npz") as asked:
        found = figures(asked["films"], asked["again"], float(asked["seconds"]))
        sheet(asked["films"], [case.kind for case in cases()], ROOT / "docs" / "pictures" / "brook.png")
    FIGURES.write_text(json.dumps(found, indent=1) + "\n")


def _report() -> None:
    from brook.card import card, page

    found = json.loads(FIGURES.read_text())
    log = [json.loads(line) for line in (HERE / "log.jsonl").read_text().splitlines()]
    shutil.copy(HERE / "log.jsonl", REPO / "log.jsonl")
    (REPO / "README.md").write_text(card(REPO, found, log))
    (ROOT / "docs" / "brook.md").write_text(page(found, log))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
