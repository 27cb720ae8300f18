"""How the files of a revision are kept on disk: whole, or as the difference to another model's. For people to see.

What a viewer may not read is not named. Changes nothing (hub/descent.py does).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headwater.core.types import Actor, Digest, Entry
from headwater.hub import Hub


class Difference(NamedTuple):
    """on_disk: bytes the difference takes. base: full name of a repo that has the bytes it is the difference to; None
    where the viewer may read none."""

    on_disk: int
    base: str | None


def kept_as(hub: Hub, viewer: Actor, entries: Iterable[Entry]) -> dict[Digest, Difference]:
    """Of these files, those kept as a difference. It is undone when no repo has the base's bytes any more, or when the
    hub is told to keep files whole again."""
    digests = {entry.digest for entry in entries if entry.digest}
    if hub.differences is None or not digests:
        return {}
    ready = {d: row for d, row in hub.differences.of(digests).items() if row.state == "ready" and row.base}
    if not ready:
        return {}
    repos = hub.holdings.holders({row.base for row in ready.values() if row.base}, viewer)
    return {digest: Difference(row.size, repos[row.base].full_name if row.base in repos else None)
            for digest, row in ready.items() if row.base}
