"""Who runs a job, as text in its row, and whether that process is still there. Knows nothing of the database.

An owner is `machine-pid-process-executor`. A process on this machine can be asked for by its pid, so after
kill -9 its jobs run again at the next start without a wait. Of a process elsewhere nothing is known but its
heartbeat.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
from pathlib import Path

_PROCESS = secrets.token_hex(4)


def _machine() -> str:
    """Same text only for processes that see the same pids: host name, boot and pid namespace."""
    seen = [platform.node()]
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        seen += [boot.read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:12]


def new_owner() -> str:
    """A name no other executor has, in this process or another."""
    return f"{_machine()}-{os.getpid()}-{_PROCESS}-{secrets.token_hex(4)}"


def surely_dead(owner: str | None) -> bool:
    """True only when the owner cannot be running. False also means "cannot tell"."""
    if not owner:
        return True
    parts = owner.split("-")
    if len(parts) != 4 or parts[0] != _machine() or not parts[1].isdigit():
        return False
    pid, process = int(parts[1]), parts[2]
    if pid == os.getpid():
        # The pid is ours, so whoever had it before us is gone.
        return process != _PROCESS
    return not _alive(pid)


def _alive(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
