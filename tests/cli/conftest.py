"""The command line, in this process and as real ones."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headwater import cli


def clean_environ(**more: str) -> dict[str, str]:
    """A user's environment without anything that speaks of a hub."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWATER_", "HF_"))}
    return {**kept, "TERM": "dumb", "PYTHONUNBUFFERED": "1", **more}


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def hw(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
       capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process, on the data folder of this test."""
    for name in [k for k in os.environ if k.startswith(("HEADWATER_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEADWATER_DATA", str(data))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def run(*argv: str) -> Said:
        capsys.readouterr()
        code = cli.run([*argv])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Said(code, said.out, said.err)

    return run


class Up:
    """`headwater up` as a process on a free port; its output is `text()`."""

    def __init__(self, data: Path, *argv: str, **environ: str):
        self.data, self.log = data, data.parent / f"{data.name}.up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headwater", "up", "--port", "0", "--data", str(data), *argv],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=clean_environ(**environ), start_new_session=True)

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def wait(self) -> str:
        """Its URL, once it answers."""
        return self.wait_for(r"Open +(\S+)").group(1)

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := re.search(pattern, self.text()):
                return found
            assert self.process.poll() is None, self.text()
            time.sleep(0.05)
        raise AssertionError(f"no {pattern!r} in: {self.text()}")

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def start(data: Path, *argv: str, **environ: str) -> Up:
        made.append(Up(data, *argv, **environ))
        return made[-1]

    yield start
    for one in made:
        one.kill()


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A model folder for the engine without weights; it answers slowly, so that it can be interrupted."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "markov", "tokens_per_second": 20}))
    (folder / "corpus.txt").write_text("The river runs to the sea.\n")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Toy\n")
    return folder


@pytest.fixture
def endless(toy: Path) -> Path:
    (toy / "corpus.txt").write_text("tick tock ")
    return toy


class Terminal:
    """A command in a pseudo-terminal, typed at."""

    def __init__(self, data: Path, *argv: str):
        import pty

        self.master, child = pty.openpty()
        self.process = subprocess.Popen([sys.executable, "-m", "headwater", *argv], stdin=child, stdout=child,
                                        stderr=child, start_new_session=True, preexec_fn=_own_terminal,
                                        env=clean_environ(HEADWATER_DATA=str(data), TERM="xterm", COLUMNS="100"))
        os.close(child)
        self.text = ""

    def wait_for(self, pattern: str, seconds: float = 40) -> None:
        import select

        until = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.master], [], [], 0.2)
            if ready:
                self.text += os.read(self.master, 65536).decode("utf-8", "replace")
            assert time.monotonic() < until, f"no {pattern!r} in: {self.text[-2000:]}"
        self.text = self.text[re.search(pattern, self.text).end():]

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        os.close(self.master)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
