"""What rooms announce to one another, by name. Payloads are plain JSON."""

from __future__ import annotations

from typing import Any, Protocol

from headwater.core.types import Event

REVISION_STORED = "revision.stored"
"""{repo_id, kind, name, ref, revision}: a branch of a repo stands at a new commit."""

REPO_DELETED = "repo.deleted"
"""{repo_id, kind, name}"""


class Bus(Protocol):
    """What rooms announce. Rows are written inside the transactions of others; this reads them."""

    def announce(self, name: str, payload: dict[str, Any]) -> None: ...

    def pending(self, limit: int = 100) -> list[Event]: ...

    def delivered(self, event: Event) -> None: ...
