"""One environment and one forking process for each version of the Hugging Face client."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import client_env, client_python

FORKER = Path(__file__).parent / "journeys" / "forker.py"
SECONDS = 120
VERSIONS = ("0.36.2", "1.19.0", "1.33.0", "2.4.0")


class Client:
    """A client of one version, pointed at one hub; run() runs a script of topics/ in it."""

    def __init__(self, version: str, endpoint: str, home: Path, token: str | None):
        environ = client_env(endpoint, home, token)
        self._process = subprocess.Popen([client_python(version), FORKER], env=environ, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline().strip() == version

    def run(self, script: Path) -> str:
        """What the script printed; its traceback as AssertionError if it failed."""
        print(script, file=self._process.stdin, flush=True)
        hung = threading.Timer(SECONDS, self._process.kill)
        hung.start()
        line = self._process.stdout.readline()
        hung.cancel()
        assert line, f"{script.name} did not end within {SECONDS} s"
        answer = json.loads(line)
        assert answer["ok"], answer["output"][-6000:]
        return answer["output"]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def client(open_server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Client]]:
    clients: dict[str, Client] = {}

    def of(version: str) -> Client:
        if version not in clients:
            home = tmp_path_factory.mktemp("home")
            clients[version] = Client(version, open_server.url, home, "hf_whoever")
        return clients[version]

    yield of
    for each in clients.values():
        each.close()
