"""Conversations kept in files, one JSON object each, newest by name. Knows no model and no hub."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

KEEP = 200


class Talks:
    """Files of one folder, readable by their owner alone."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._name = time.strftime("%Y%m%d-%H%M%S") + f"-{os.getpid()}.json"

    def keep(self, model: str, messages: list[dict[str, str]]) -> None:
        """Write the present conversation, over its earlier state. Only the newest KEEP are kept."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self.folder / f"{self._name}.part"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump({"model": model, "messages": messages}, file, ensure_ascii=False, indent=1)
        part.replace(self.folder / self._name)
        for old in sorted(self.folder.glob("*.json"))[:-KEEP]:
            old.unlink(missing_ok=True)

    def last(self, model: str) -> list[dict[str, str]]:
        """Messages of the newest conversation with the model; none if there is none that can be read."""
        for path in sorted(self.folder.glob("*.json"), reverse=True):
            try:
                kept = json.loads(path.read_text("utf-8"))
                if kept["model"] == model:
                    return [{"role": str(m["role"]), "content": str(m["content"])} for m in kept["messages"]]
            except (OSError, ValueError, KeyError, TypeError):
                continue  # cut short by a crash, or edited by hand
        return []


def as_markdown(model: str, messages: list[dict[str, str]]) -> str:
    who = {"user": "You", "assistant": model, "system": "System"}
    return f"# Talk with {model}\n\n" + "\n\n".join(f"**{who.get(m['role'], m['role'])}**\n\n{m['content']}"
                                                   for m in messages) + "\n"
