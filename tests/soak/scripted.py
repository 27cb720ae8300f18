"""An engine for the soak alone: its tokens say their number and when they were made, at a pace the request sets.

As a program with a folder it is the worker; with DATA and FLAGS (JSON) it is a hub that has this engine only.
The pace stands in the first message: "20 tokens, 500 ms apart".
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))


class Script:
    """Keeps the contract of engines._worker.Model."""

    def count(self, messages: Sequence[dict[str, Any]]) -> int:
        return 1

    async def reply(self, messages: Sequence[dict[str, Any]], *, seed: int, temperature: float) -> AsyncGenerator[str]:
        tokens, pause = map(int, re.findall(r"\d+", messages[0]["content"])[:2])
        due = time.monotonic() + (seed % 1000) / 1000 * pause / 1000  # streams do not beat as one
        for n in range(tokens):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield f"{n}@{time.monotonic_ns()} "
            due += pause / 1000


class Scripted:
    name, slots = "scripted", 512

    def available(self) -> str | None:
        return None

    def build(self) -> str:
        return "scripted 1"

    def accepts(self, files: Sequence[str]) -> str | None:
        return "script.txt" if "script.txt" in files else None

    def command(self, snapshot: Any, path: str, *, port: int, threads: int, context: int) -> list[str]:
        return [sys.executable, __file__, snapshot.folder, "--port", str(port)]


def work() -> None:
    from headwater.engines import _worker

    given, key = _worker.arguments("The scripted worker."), _worker.take_key()
    _worker.die_with_parent()
    _worker.serve(Script(), port=given.port, key=key)


def hub() -> None:
    import headwater.app

    headwater.app.ENGINES = [Scripted()]
    import hub_process

    hub_process.main(*sys.argv[1:])


if __name__ == "__main__":
    work() if "--port" in sys.argv else hub()
