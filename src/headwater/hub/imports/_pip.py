"""Have pip fetch wheels: as a child process, without dependencies, and never building or running anything of them."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from headwater.core.errors import NotBuilt, NotFound, Unavailable
from headwater.hub.imports._shelf import Meter

_PROGRESS = re.compile(rb"Progress (\d+) of (\d+)")
RAW_SINCE = (24, 1)
"""The pip that tells its progress in numbers."""


def download_wheel(requirement: str, folder: Path, meter: Meter) -> Path:
    """The wheel of name or name==version (already checked to be no more than that), in `folder`. pip compares it with
    the hash its index states. Raises NotFound if there is no wheel for it, Unavailable if pip fails otherwise."""
    there = set(folder.glob("*.whl"))
    meter.start(f"downloading {requirement}")
    said = _run(requirement, folder, meter)
    name = re.split(r"[=]", requirement)[0]
    wanted = re.sub(r"[-_.]+", "_", name).lower()
    found = [w for w in folder.glob("*.whl") if re.sub(r"[-_.]+", "_", w.name.split("-")[0]).lower() == wanted]
    fresh = [w for w in found if w not in there] or found
    if not fresh:
        raise Unavailable(f"pip fetched no wheel of {requirement}: {said[-300:]}")
    return max(fresh, key=lambda w: w.stat().st_mtime_ns)


def _command(requirement: str, folder: Path) -> list[str]:
    try:
        version = tuple(int(part) for part in metadata.version("pip").split(".")[:2])
    except metadata.PackageNotFoundError:
        raise NotBuilt("This environment has no pip, which fetches packages.",
                       hint=f"Install it: {sys.executable} -m ensurepip") from None
    return [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input",
            "--disable-pip-version-check", "--progress-bar", "raw" if version >= RAW_SINCE else "off",
            "--dest", str(folder), requirement]


def _run(requirement: str, folder: Path, meter: Meter) -> str:
    command = _command(requirement, folder)
    # pip needs the user's index settings, and none of the hub's secrets.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env={**environ, "TMPDIR": str(folder)}, start_new_session=True)
    try:
        said = _listen(child, meter)
        status = child.wait()
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()
    if status:
        errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR")]
        if "No matching distribution" in said:
            raise NotFound(f"The package index has no wheel of {requirement} for this Python.",
                           hint="Look at the name and version; packages without a wheel are not built here.")
        raise Unavailable(f"pip could not fetch {requirement}: {'; '.join(errors)[-500:] or 'see its log'}.",
                          hint=f"Try it by hand: pip download --no-deps {requirement}")
    return said


def _listen(child: subprocess.Popen[bytes], meter: Meter) -> str:
    """What pip says, its progress told to the meter. Keeps the last 100 kB."""
    said, at = bytearray(), 0
    while True:
        ready, _, _ = select.select([child.stdout], [], [], 0.5)
        if not ready:
            meter.add(0)  # hears a cancel
            continue
        chunk = os.read(child.stdout.fileno(), 65_536)
        if not chunk:
            return said.decode("utf-8", "replace")
        said = (said + chunk)[-100_000:]
        if told := _PROGRESS.findall(chunk):
            done, total = int(told[-1][0]), int(told[-1][1])
            meter.total(total)
            meter.add(done - at)
            at = done
