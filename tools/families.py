"""Write docs/families.md: talk with every family through both engines and write down what was heard."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "families")]


def main() -> None:
    from conversations import FAMILIES
    from page import PAGE, page
    from test_family_gguf import heard
    from test_family_safetensors import talk_in_torch

    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for n, family in enumerate(FAMILIES):
            rows[family.name, "llamacpp"] = heard(family, Path(folder) / str(n))
        (torch := Path(folder) / "torch").mkdir()
        rows |= {(name, "transformers"): found["row"] for name, found in talk_in_torch(torch).items()}
    PAGE.write_text(page(rows), "utf-8")


if __name__ == "__main__":
    main()
