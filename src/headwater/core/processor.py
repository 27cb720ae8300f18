"""Which processor this is, as far as compiled code and measured speeds depend on it."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

_SAYS = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")


@cache
def processor() -> str:
    """Short and fit for file names, e.g. 'x86_64-3fa9c2d1': the same where the same instructions run."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n")[0].splitlines()
        said = sorted(line for line in lines if line.partition(":")[0].strip() in _SAYS)
    except OSError:  # no Linux: the name must do
        said = [platform.processor(), platform.platform()]
    return f"{platform.machine()}-{hashlib.sha256(chr(10).join(said).encode()).hexdigest()[:8]}"
