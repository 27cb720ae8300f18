"""The long checks run by `make soak` alone; what they measure goes to docs/numbers-soak.md, a section a file."""

import os
import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "numbers-soak.md"
HEAD = "# Figures of the soak\n\nMade by `make soak` (`tests/soak`).\n"
TABLE = "| what | aim | measured |\n|---|---|---|\n"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" in config.option.markexpr:
        return
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    items[:] = [item for item in items if item not in ours]
    config.hook.pytest_deselected(items=ours)


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Iterator[dict[str, tuple[str, str]]]:
    """What is measured: {what: (aim, measured)}. Written when no test of the file was left out; SECTION there says
    how it was measured."""
    found: dict[str, tuple[str, str]] = {}
    yield found
    module = request.module
    ran = {getattr(item, "originalname", item.name) for item in request.session.items if item.module is module}
    if found and ran >= {name for name in vars(module) if name.startswith("test_")}:
        title, how = module.SECTION
        rows = "".join(f"| {what} | {aim} | {measured} |\n" for what, (aim, measured) in found.items())
        write(title, f"{how}\n\n{TABLE}{rows}\n{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores "
                     f"({platform.machine()}), load {os.getloadavg()[0]:.1f} at the end.\n")


def write(title: str, text: str) -> None:
    """Put a section into the page, in the place of the one of that title."""
    parts = re.split(r"^## (.+)\n\n", PAGE.read_text("utf-8"), flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True)) | {title: text}
    PAGE.write_text(HEAD + "".join(f"\n## {name}\n\n{body.strip()}\n" for name, body in sections.items()), "utf-8")
