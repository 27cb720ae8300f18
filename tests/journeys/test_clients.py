"""Unmodified Hugging Face clients of four versions against the hub, told only HF_ENDPOINT, HF_TOKEN and a home.

Each file in topics/ is a script of one topic; it runs in the environment of each version.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest_clients import VERSIONS

TOPICS = sorted(p for p in (Path(__file__).parent / "topics").glob("*.py") if p.name != "kit.py")


LONG = {"large_folder": ("0.36.2", "2.4.0")}
"""Topics that take long are left to the oldest and the newest client."""
CASES = [pytest.param(topic, version, id=f"{topic.stem}-{version}") for topic in TOPICS for version in VERSIONS
         if version in LONG.get(topic.stem, VERSIONS)]


@pytest.mark.parametrize(("topic", "version"), CASES)
def test_a_client_can(topic: Path, version: str, client) -> None:
    client(version).run(topic)
