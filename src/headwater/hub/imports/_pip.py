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

from headwater.core.errors import HeadwaterError, NotBuilt, NotFound, Unavailable
from headwater.hub.imports._shelf import Meter

_PROGRESS = re.compile(rb"Progress (\d+) of (\d+)")
RAW_SINCE = (24, 1)
"""The pip that tells its progress in numbers."""


def download_wheels(requirements: list[str], folder: Path, meter: Meter) -> list[Path]:
    """Their wheels, in the order asked; each is name or name==version (already checked to be no more than that). pip
    compares each with the hash its index states. Raises NotFound if one has no wheel, Unavailable if pip fails."""
    first = requirements[0]
    meter.start(f"downloading {first}" + (f" and {len(requirements) - 1} more" if len(requirements) > 1 else ""))
    _run(requirements, folder, meter)
    found = {_plain(wheel.name.split("-")[0]): wheel
             for wheel in sorted(folder.glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime_ns)}
    names = [_plain(requirement.split("==")[0]) for requirement in requirements]
    if missing := [name for name in names if name not in found]:
        raise Unavailable(f"pip fetched no wheel of {', '.join(missing)[:300]}.")
    return [found[name] for name in names]


def _plain(name: str) -> str:
    """A package's name as wheels write it."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _command(requirements: list[str], folder: Path) -> list[str]:
    try:
        version = tuple(int(part) for part in metadata.version("pip").split(".")[:2])
    except metadata.PackageNotFoundError:
        raise NotBuilt("This environment has no pip, which fetches packages.",
                       hint=f"Install it: {sys.executable} -m ensurepip") from None
    return [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input",
            "--disable-pip-version-check", "--progress-bar", "raw" if version >= RAW_SINCE else "off",
            "--dest", str(folder), *requirements]


def _run(requirements: list[str], folder: Path, meter: Meter) -> None:
    # pip needs the user's index settings, and none of the hub's secrets.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HF_"))}
    child = subprocess.Popen(_command(requirements, folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, env={**environ, "TMPDIR": str(folder)}, start_new_session=True)
    try:
        said = _listen(child, meter)
        status = child.wait()
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()
    if status:
        raise _failure(requirements, said)


def _failure(requirements: list[str], said: str) -> HeadwaterError:
    if missing := re.search(r"No matching distribution found for (\S+)", said):
        return NotFound(f"The package index has no wheel of {missing[1]} for this Python.",
                        hint="Look at the name and version; packages without a wheel are not built here.")
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR")]
    return Unavailable(f"pip could not fetch {requirements[0]}: {'; '.join(errors)[-500:] or 'it does not say why'}.",
                       hint=f"Try it by hand: pip download --no-deps {requirements[0]}")


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
            if done < at:  # the next file begins
                meter.start("downloading", total)
                at = 0
            meter.total(total)
            meter.add(done - at)
            at = done
