"""What is vendored is what the lock says, each with its licence; and the first page stays small."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

from headwater.web.site import ROOT

FOLDERS = [ROOT / "static" / "vendor", Path(__file__).parent / "vendor"]
FREE = {"MIT", "0BSD", "BSD-0-Clause", "Apache-2.0", "BSD-3-Clause", "(MPL-2.0 OR Apache-2.0)", "MPL-2.0"}


@pytest.mark.parametrize("folder", FOLDERS, ids=["shipped", "for tests"])
def test_vendored_files_are_those_of_the_lock_and_carry_their_licence(folder):
    rows = json.loads((folder / "lock.json").read_text())
    for row in rows:
        assert hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
        assert row["licence"] in FREE
        assert (folder / f"LICENSE.{row['package'].replace('@', '').replace('/', '-')}").stat().st_size > 200
    code = {str(p.relative_to(folder)) for p in folder.rglob("*.*") if p.suffix in (".js", ".css", ".woff2")}
    assert code == {row["file"] for row in rows}


def test_only_our_own_modules_are_imported_by_our_scripts():
    for script in (ROOT / "static").glob("*.js"):
        code = re.sub(r"(?s)`.*?`", "``", script.read_text())  # a program that is shown imports what it likes
        for target in re.findall(r"""(?:from|import)\s*\(?["']([^"']+)["']""", code):
            assert target.startswith("./") and (script.parent / target).is_file(), (script.name, target)


def test_our_scripts_never_write_html_that_was_not_cleaned():
    for script in (ROOT / "static").glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function",
                             script.read_text()), script.name


def test_styles_and_scripts_of_our_own_stay_under_their_size():
    def packed(pattern: str) -> int:
        return sum(len(gzip.compress(p.read_bytes(), 9)) for p in (ROOT / "static").glob(pattern))

    assert packed("*.css") < 18_000
    assert packed("chat*.js") < 30_000
    assert packed("film*.js") < 11_000
    assert packed("*.js") - packed("chat*.js") - packed("film*.js") < 10_000
