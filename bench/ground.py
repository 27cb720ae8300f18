"""What every row stands on: a real hub in a process of its own, files, a peer, and a fair way to compare two."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One line of docs/numbers.md: our seconds beside theirs, measured in turns in one run.

    budget: what the ratio must stay under (or over, when better is 'more'). note: what a reader must know.
    """

    work: str
    beside: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    budget: str
    unit: str = "s"
    note: str = ""
    more: dict[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Median of the rounds' ratios: noise that hits a whole round falls out."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def spread(self) -> tuple[float, float]:
        ratios = [a / b for a, b in zip(self.ours, self.theirs, strict=True)]
        return min(ratios), max(ratios)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[tuple, tuple]:
    """Both timed `rounds` times, one after the other, the first round of each thrown away."""
    ours(), theirs()
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def hub(data: Path, **settings: object) -> Iterator[str]:
    """A real hub on a free port; answers its URL."""
    port = free_port()
    environ = {**os.environ, **{f"HEADWATER_{k.upper()}": str(v) for k, v in settings.items()}}
    command = [sys.executable, "-m", "headwater", "up", "--port", str(port), "--data", str(data)]
    with (data.parent / "hub.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/healthz", process)
            yield url
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def nginx(root: Path) -> Iterator[str]:
    """nginx with sendfile over `root`; raises FileNotFoundError if it is not installed."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        raise FileNotFoundError("nginx is not installed: apt-get install nginx-light")
    port, conf = free_port(), root.parent / "nginx.conf"
    conf.write_text(f"""worker_processes 1; daemon off; pid {root.parent}/nginx.pid; error_log stderr; user root;
events {{}} http {{ sendfile on; access_log off; server {{ listen 127.0.0.1:{port}; root {root}; }} }}""")
    process = subprocess.Popen([binary, "-c", str(conf)], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def wait_for(url: str, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def random_file(path: Path, mib: int, seed: int = 7) -> Path:
    """Bytes no codec can shrink, the same for one seed."""
    import numpy as np

    draw = np.random.default_rng(seed)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(draw.bytes(MIB))
    return path
