"""Docs that say what the code says."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOME = re.compile(re.escape(str(ROOT)) + r"\b|/(?:home|Users)/\w+/|/(?:root)/")
sys.path.insert(0, str(ROOT / "tools"))
import docs  # noqa: E402


@pytest.mark.parametrize("name", docs.PAGES)
def test_a_page_made_from_code_is_up_to_date(name):
    made = docs.PAGES[name]()
    assert (ROOT / "docs" / name).read_text("utf-8") == made, f"run: python tools/docs.py {name}"


def test_every_link_between_documents_leads_somewhere():
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if not target.startswith(("http:", "https:", "mailto:")) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, "\n".join(broken)


def test_no_document_or_source_names_a_machine():
    """Paths and hosts of the place where it was written mean nothing to its readers."""
    wrong = []
    for path in ROOT.rglob("*"):
        if path.suffix in {".py", ".md", ".html", ".js", ".css", ".toml", ".po"} and not any(
                part.startswith(".") or part == "vendor" for part in path.relative_to(ROOT).parts):
            text = path.read_text("utf-8", "replace")
            wrong += [f"{path.relative_to(ROOT)}: {m}" for m in HOME.findall(text)]
    assert not wrong, "\n".join(wrong)
