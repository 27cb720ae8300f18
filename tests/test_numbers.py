"""docs/faults-and-attacks.md against the tests: each number has its row, each test it names exists."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "faults-and-attacks.md"
WANTED = [f"F{n}" for n in range(1, 13)] + [f"A{n}" for n in range(1, 16)] + [f"U{n}" for n in range(1, 19)] \
    + [f"V{n}" for n in range(1, 8)]


def rows() -> dict[str, str]:
    return dict(re.findall(r"^\| ([FAUV]\d+) \| [^|]+ \| (.*) \|$", PAGE.read_text("utf-8"), re.M))


def test_every_fault_and_attack_has_its_row_with_a_test_or_the_part_it_belongs_to() -> None:
    assert list(rows()) == WANTED
    for number, held in rows().items():
        assert "`test_" in held or held.startswith("Later: "), number


def test_every_test_the_page_names_exists() -> None:
    there = {name for path in HERE.rglob("test_*.py")
             for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.M)}
    named = {name for held in rows().values() for name in re.findall(r"`(test_\w+)`", held)}
    assert named <= there, sorted(named - there)


def test_a_test_that_carries_a_number_stands_in_a_row_or_beside_one() -> None:
    carried = {f"{letter.upper()}{int(number)}" for path in HERE.rglob("test_*.py")
               for letter, number in re.findall(r"^def test_([fauv])(\d+)_", path.read_text("utf-8"), re.M)}
    assert carried <= set(WANTED), sorted(carried - set(WANTED))
