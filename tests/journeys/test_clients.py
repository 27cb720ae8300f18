"""Unmodified Hugging Face clients of four versions against the hub, told only HF_ENDPOINT, HF_TOKEN and a home.

Each file in topics/ is a script of one topic; it runs in the environment of each version.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest_clients import VERSIONS

TOPICS = sorted(p for p in (Path(__file__).parent / "topics").glob("*.py") if p.name != "kit.py")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("topic", TOPICS, ids=lambda path: path.stem)
def test_a_client_can(topic: Path, version: str, client) -> None:
    client(version).run(topic)
