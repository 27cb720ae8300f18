"""The long checks run by `make soak` alone; what they measure goes to docs/numbers-soak.md when all have run."""

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "numbers-soak.md"
HEAD = """# Figures of the soak

Made by `make soak` (`tests/soak`): a hub process, a worker whose answers are scripted, clients on the same machine.

| what | aim | measured |
|---|---|---|
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" in config.option.markexpr:
        return
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    items[:] = [item for item in items if item not in ours]
    config.hook.pytest_deselected(items=ours)


@pytest.fixture(scope="session")
def figures() -> Iterator[dict[str, tuple[str, str]]]:
    """What is measured: {what: (aim, measured)}. Written when nothing was left out."""
    found: dict[str, tuple[str, str]] = {}
    yield found
    if len(found) >= 5:
        rows = "".join(f"| {what} | {aim} | {measured} |\n" for what, (aim, measured) in found.items())
        busy = os.getloadavg()[0]
        PAGE.write_text(f"{HEAD}{rows}\n{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), "
                        f"load {busy:.1f} at the end.\n", "utf-8")
