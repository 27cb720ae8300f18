"""What every verb takes, and how results are shown: tables for people, one JSON value for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every verb."""

    json: Annotated[bool, Parameter(negative="", help="Print the result, or the error, as JSON.")] = False
    data: Annotated[Path | None, Parameter(help="Data folder (HEADWATER_DATA; ~/.headwater).")] = None


def show_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """Columns whose name starts with '#' are numbers, aligned to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for name in columns:
        table.add_column(name.lstrip("#"), justify="right" if name.startswith("#") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(str(cell))) for cell in row))
    # Piped, a table is for another program: no line of it may be cut at a width nobody has.
    Console(width=None if sys.stdout.isatty() else 10_000, highlight=False).print(table, soft_wrap=False)


def plain(text: str) -> str:
    """Without the control characters that could move a terminal's cursor; names and messages come from strangers."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def human(size: float | None) -> str:
    """98765432 → '98.8 MB'; None → ''."""
    if size is None:
        return ""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return ""


def count(number: int | None) -> str:
    """134515008 → '135M'."""
    if number is None:
        return ""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return str(number)


def when(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else ""


def note(text: str) -> None:
    """A word to the person, out of the way of what a program reads."""
    print(plain(text), file=sys.stderr, flush=True)
