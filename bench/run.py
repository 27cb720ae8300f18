"""Measure every row beside its peer, in one run, and write docs/numbers.md. `make bench`."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import ground

PARTS = ("hub_rows", "chat_rows", "first_token_rows", "page_rows", "film_rows", "diffusers_rows", "trace_rows",
         "index_rows", "kin_rows", "storage_rows")
TARGET = Path(__file__).parents[1] / "docs" / "numbers.md"


def main() -> int:
    parts = sys.argv[1:] or PARTS
    lines, failed = [], False
    for part in parts:
        try:
            for row in importlib.import_module(part).rows():
                lines.append(_line(row))
                print(lines[-1], flush=True)
        except Exception:
            # One part that cannot be measured here must not lose the others; it is told as such.
            traceback.print_exc()
            lines.append(f"| {part} | | not measured | | | |")
            failed = True
    if parts == PARTS:
        TARGET.write_text(_page(lines))
    return failed


def _line(row: ground.Row) -> str:
    low, high = row.spread
    ours, theirs = sorted(row.ours)[len(row.ours) // 2], sorted(row.theirs)[len(row.theirs) // 2]
    return (f"| {row.work} | {row.beside} | {row.ratio:.2f} ({low:.2f} to {high:.2f}, n = {len(row.ours)}) "
            f"| {_number(ours)} / {_number(theirs)} {row.unit} | {row.budget} | {row.note} |")


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _page(lines: list[str]) -> str:
    today = datetime.now(UTC).date().isoformat()
    return f"""# Numbers

Made by `make bench` on {today}: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. 
Each row is a ratio of two things measured in turns in one run on one machine; the seconds are medians and say little
elsewhere. In brackets the least and the greatest ratio of the rounds.

| work | beside | ratio | ours / theirs | budget | note |
|---|---|---|---|---|---|
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    sys.exit(main())
