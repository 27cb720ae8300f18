"""The room that keeps: repos, commits, uploads, accounts. Every verb is a function whose first argument is the Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headwater.core.events import Bus
from headwater.core.ports import Accounts, Blobs, Differences, History, Holdings, Repos
from headwater.core.settings import Settings
from headwater.core.work import Jobs
from headwater.hub.throttle import Throttle


@dataclass(frozen=True)
class Hub:
    """What the verbs stand on.

    tmp: folder where bytes are received, on the same file system as the local blobs.
    now: seconds since 1970; tests move it.
    sign_ins: how often a name, and an address, may try a password.
    differences: the same blobs, for the work that keeps some of them as differences; None: this store keeps all whole.
    """

    settings: Settings
    blobs: Blobs
    repos: Repos
    history: History
    holdings: Holdings
    accounts: Accounts
    bus: Bus
    jobs: Jobs
    tmp: Path
    now: Callable[[], float]
    sign_ins: Throttle = field(default_factory=lambda: Throttle(limit=10, seconds=300), repr=False)
    differences: Differences | None = None
