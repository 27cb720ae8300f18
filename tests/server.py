"""Hubs to test with: as a real process that can be killed, and as the bare room in this process. A pytest plugin.

    hub             a Hub on SQLite and a folder, its clock moved by hand (`clock`); `owner` may do all in it
    open_server     a process, open on loopback as after `make up`; one for the session, so name repos freshly
    team_server     a process with accounts: see Team; one for the session
    HubProcess      to start, stop and SIGKILL one of your own
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from nursery import Forked, hub_environ, nursery
from record_samples import Clock

from headwater.core.settings import load
from headwater.core.types import Access, Actor, Kind, Repo
from headwater.hub import Hub, accounts
from headwater.hub import repos as repo_verbs
from headwater.hub.accounts import (
    create_org,
    create_user,
    issue_token,
    local_owner,
    owner_actor,
    set_password,
    set_role,
)
from headwater.jobs.local import LocalJobs
from headwater.storage import tables
from headwater.storage.blobs import open_blobs
from headwater.storage.records import open_records

HERE = Path(__file__).parent
PASSWORD = "correct horse battery"
# At argon2's own cost each password that a test sets takes 0.15 s of the processor.
accounts._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_fresh = itertools.count(1)


def fresh(stem: str = "repo") -> str:
    """A repo name nobody has used in this session."""
    return f"{stem}-{os.getpid()}-{next(_fresh)}"


# --- in this process


@contextlib.contextmanager
def opened_hub(data: Path, now: Any = time.time, **flags: Any) -> Iterator[Hub]:
    """The hub room over a data folder, without HTTP and with its jobs not started."""
    settings = load(data, flags, environ={})
    (data / "tmp").mkdir(parents=True, exist_ok=True)
    records = open_records(settings.database_url or None, data, now)
    jobs = LocalJobs(records.database, tables.jobs, tables.pauses, now=now)
    blobs = open_blobs(settings.blobs_url, settings.blobs_options, data)
    hub = Hub(settings, blobs, records.repos, records.history, records.holdings, records.accounts, records.bus, jobs,
              data / "tmp", now)
    try:
        local_owner(hub)
        yield hub
    finally:
        records.close()


@pytest.fixture
def clock() -> Clock:
    return Clock(float(int(time.time())))


@pytest.fixture
def hub(tmp_path: Path, clock: Clock) -> Iterator[Hub]:
    with opened_hub(tmp_path / "data", clock) as opened:
        yield opened


@pytest.fixture
def owner(hub: Hub) -> Actor:
    return owner_actor(hub)


@pytest.fixture
def repo(hub: Hub, owner: Actor) -> Repo:
    """An empty model repo local/yi."""
    return repo_verbs.create(hub, owner, Kind.MODEL, owner.name, "yi")


# --- as a process


class HubProcess:
    """The hub of a data folder on a free port. start() returns when it answers; its log is `log`."""

    PROGRAM = str(HERE / "hub_process.py")
    PYTHON = sys.executable

    def __init__(self, data: Path, **flags: Any):
        # Uploads are not read for their descent here, unless a test is about that: it would cost each a process.
        self.data, self.flags = data, {"port": 0, "trace_uploads": 0, **flags}
        data.mkdir(parents=True, exist_ok=True)
        self.log = data.parent / f"{data.name}.log"
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.url = ""

    def start(self) -> HubProcess:
        port = self._begin()
        assert port, f"the hub did not start: {self.tail()}"
        self.url = f"http://127.0.0.1:{port}"
        for _ in range(1000):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self.url + "/healthz", timeout=5, verify=False).status_code < 500:
                    return self
            assert self.process.poll() is None, self.tail()
            time.sleep(0.01)
        raise AssertionError(f"the hub does not answer: {self.tail()}")

    def _begin(self) -> str:
        """The port of a new process. Forked, unless it is of another program or another Python."""
        if (self.PYTHON, self.PROGRAM) == (HubProcess.PYTHON, HubProcess.PROGRAM):
            self.process, port = nursery().hub(self.data, self.flags, self.log)
            return port
        argv = [self.PYTHON, self.PROGRAM, str(self.data), json.dumps(self.flags)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, env=hub_environ(),
                                            start_new_session=True)
        return self.process.stdout.readline().strip().decode()

    def stop(self) -> int:
        """SIGTERM, as a service manager stops it; its exit status."""
        self.process.terminate()
        return self._gone(20)

    def kill(self) -> None:
        """SIGKILL to it and its children, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._gone(20)

    def tail(self) -> str:
        return self.log.read_text("utf-8", "replace")[-4000:]

    def _gone(self, seconds: float) -> int:
        status = self.process.wait(seconds)
        if isinstance(self.process, subprocess.Popen):
            self.process.stdout.close()
        return status

    def __enter__(self) -> HubProcess:
        return self.start()

    def __exit__(self, *error: object) -> None:
        if self.process and self.process.poll() is None:
            self.kill()


@pytest.fixture(scope="session")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with HubProcess(tmp_path_factory.mktemp("open") / "data", part_bytes=8_000_000, sweep_every_s=0) as server:
        yield server
    assert "Traceback" not in server.tail(), server.tail()


@dataclass
class Team:
    """A closed hub. alice and bob are users; alice administers acme, bob reads it, carol is a stranger to it; dora
    administers the hub. `tokens` holds a write token of each by name, and alice-read, alice-expired, alice-revoked,
    and alice-one, which opens only the model alice/one."""

    server: HubProcess
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    def client(self, who: str | None = None, **options: Any) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **options)


def make_team(data: Path) -> dict[str, str]:
    """Put the accounts of Team into a data folder no process has open; their tokens."""
    with opened_hub(data) as hub:
        admin = owner_actor(hub)
        people = {name: Actor(create_user(hub, admin, name, PASSWORD, is_admin=name == "dora"), Access.ADMIN)
                  for name in ("alice", "bob", "carol", "dora")}
        create_org(hub, people["alice"], "acme")
        set_role(hub, people["alice"], "acme", "bob", Access.READ)
        tokens = {name: issue_token(hub, actor, "laptop")[0] for name, actor in people.items()}
        alice = people["alice"]
        tokens["alice-read"] = issue_token(hub, alice, "read", scope=Access.READ)[0]
        tokens["alice-one"] = issue_token(hub, alice, "one", repos=("model/alice/one",))[0]
        tokens["alice-expired"] = issue_token(hub, alice, "old", seconds=-60)[0]
        tokens["alice-revoked"] = issue_token(hub, alice, "lost")[0]
        hub.accounts.revoke(alice.account, "lost", by=alice)
        set_password(hub, admin, admin.name, PASSWORD)
    return tokens


@pytest.fixture(scope="session")
def team_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    data = tmp_path_factory.mktemp("team") / "data"
    data.mkdir()
    tokens = make_team(data)
    with HubProcess(data, part_bytes=8_000_000, sweep_every_s=0) as server:
        yield Team(server, tokens)
    assert "Traceback" not in server.tail(), server.tail()
