"""Names programs know films' models by that no open model has: they take what the hub has instead, and are told."""

from __future__ import annotations

import re

CLOSED = re.compile(r"(sora|kling|veo|gen|runway|pika|hailuo)[-_/.\w]*", re.I)


def stand_in(name: str, default: str) -> tuple[str, tuple[str, ...]]:
    """(the model that is meant, what to tell about it). default: the hub's own, "" for what is built in."""
    if "/" in name or not CLOSED.fullmatch(name):
        return name, ()
    return default, (f"{name} cannot be had; {default or 'what is built in'} made this film.",)
