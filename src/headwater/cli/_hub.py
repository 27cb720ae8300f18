"""How a verb reaches the hub: always its HTTP API, at HEADWATER_URL, or at the hub that serves the data folder, or
at one started in this process for as long as the command runs. The one place where cli/ knows app.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from headwater.core.errors import BadInput, Conflict, HeadwaterError, NotSignedIn, Unavailable
from headwater.core.settings import Settings, default_data, load

if TYPE_CHECKING:
    import httpx

    from headwater.app import App
    from headwater.cli._common import Common
    from headwater.core.work import Progress
    from headwater.hub.backup import Restored

RUN_FILE, LOCK_FILE = "headwater.run", "headwater.lock"
NOT_RUNNING = "Is it running? Start it with `headwater up`, or set HEADWATER_URL."
WAIT_S = 5.0
"""How long a command waits for a hub that is just starting, or ending."""


class HubError(HeadwaterError):
    """What a hub answered, as it said it."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Door:
    """A hub one can ask. here: it runs in this process and ends with the command."""

    url: str
    token: str | None
    here: bool = False
    client: httpx.Client = field(repr=False, default=None)  # type: ignore[assignment]

    def get(self, path: str, **params: Any) -> Any:
        return self.ask("GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(self, path: str, body: Any = None) -> Any:
        return self.ask("POST", path, json=body)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """The answer's JSON. Raises HubError for what the hub refuses, Unavailable when it does not answer."""
        with self.stream(method, path, **more) as answer:
            answer.read()
            return answer.json() if answer.content else None

    @contextmanager
    def stream(self, method: str, path: str, **more: Any) -> Iterator[httpx.Response]:
        import httpx

        try:
            with self.client.stream(method, path, **more) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _refused(answer)
                yield answer
        except httpx.TransportError as error:
            why = "refused the connection" if isinstance(error, httpx.ConnectError) else f"broke off ({error})"
            raise Unavailable(f"The hub at {self.url} {why}.", hint=NOT_RUNNING) from None


def _refused(answer: httpx.Response) -> HubError:
    try:
        said = answer.json()["error"]
        message = said["message"] if isinstance(said, dict) else str(said)
    except (ValueError, KeyError, TypeError):
        message = f"The hub answered {answer.status_code} to {answer.request.method} {answer.request.url.path}."
    return HubError(answer.status_code, answer.headers.get("x-error-code", "Error"), message)


def path_of(*segments: str) -> str:
    """An API path from segments, each quoted whole."""
    return "/".join(quote(segment, safe="") for segment in segments)


@contextmanager
def reach(common: Common, *, work: bool = False) -> Iterator[Door]:
    """The hub this command is for. work: the command needs jobs to run or models to answer, so a hub started here
    starts those too."""
    url = os.environ.get("HEADWATER_URL")
    if url and common.data is None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise BadInput(f"HEADWATER_URL is {url!r}.", hint="Write http://host:port.")
        with _door(url.rstrip("/"), os.environ.get("HF_TOKEN")) as door:
            yield door
        return
    if found := _serving(load(common.data)):
        with _door(found["url"], found.get("token")) as door:
            yield door
        return
    with _opened_here(common.data, work) as (url, token), _door(url, token, here=True) as door:
        yield door


@contextmanager
def _door(url: str, token: str | None, *, here: bool = False) -> Iterator[Door]:
    import httpx

    from headwater import __version__

    headers = {"user-agent": f"headwater/{__version__}"}
    if token:
        if not token.isprintable() or not token.isascii():
            raise NotSignedIn("HF_TOKEN is not a token.", hint="It starts with hf_.")
        headers["authorization"] = f"Bearer {token}"
    # A proxy for the internet is no way to a hub on this machine.
    outside = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
    with httpx.Client(base_url=url, headers=headers, timeout=httpx.Timeout(30, read=600), trust_env=outside) as client:
        yield Door(url, token, here, client)


# --- who holds the data folder


def _serving(settings: Settings) -> dict[str, Any] | None:
    """The run file of the hub that serves the folder, waiting for one that is just starting; None if none does."""
    if (found := _running(settings.data)) or not settings.data.is_dir():
        return found
    try:
        with held(settings, alone=False):
            return None
    except Conflict:
        if found := _running(settings.data):
            return found
        raise


def _running(data: Path) -> dict[str, Any] | None:
    """What the run file of a living hub says; None if no hub serves the folder."""
    found = read_run_file(data)
    if found is not None and _alive(found.get("pid")):
        return found
    return None


def read_run_file(data: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((data / RUN_FILE).read_text())
        return found if isinstance(found, dict) and isinstance(found.get("url"), str) else None
    except (FileNotFoundError, ValueError):
        return None


def _alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def run_file(data: Path, url: str, token: str) -> Iterator[None]:
    """Say where the hub of this folder answers. Only its owner may read it: the token in it opens the hub."""
    path = data / RUN_FILE
    part = path.with_name(f"{RUN_FILE}.{os.getpid()}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"url": url, "pid": os.getpid(), "token": token}, file)
    part.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def held(settings: Settings, *, alone: bool) -> Iterator[None]:
    """The data folder's lock. alone: for `up` and restore; commands share it with one another.

    With PostgreSQL several hubs may serve the same records, so nobody is kept out.
    Raises Conflict, naming who has it.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    with (settings.data / LOCK_FILE).open("a+") as file:
        if not settings.database_url:
            _lock(file, settings.data, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def _lock(file: IO[str], data: Path, how: int) -> None:
    until = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if found := _running(data):
                raise Conflict(f"{data} is served already, at {found['url']} (process {found['pid']}).",
                               hint="Use that one, or stop it, or name another folder with --data.") from None
        if time.monotonic() > until:
            raise Conflict(f"Another headwater command uses {data}.", hint="Wait until it is done.")
        time.sleep(0.1)


# --- a hub of our own


@contextmanager
def _opened_here(data: Path | None, work: bool) -> Iterator[tuple[str, str | None]]:
    """(url, token) of a hub in this process, on a free port of this machine."""
    from headwater.app import open_app
    from headwater.cli._serve import Server, configure, listen

    settings = load(data, {"host": "127.0.0.1", "port": 0, "log_level": "error"})
    with held(settings, alone=False):
        app = open_app(settings)
        server = Server(configure(app.http, settings, lifespan=work))
        listening = listen(settings.host, 0)
        thread = threading.Thread(target=server.run, args=([listening],), name="hub", daemon=True)
        thread.start()
        try:
            server.wait_started()
            with terminal_token(app, only_if_closed=True) as token:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}", token
        finally:
            server.should_exit = True
            thread.join(30)
            if not work:
                app.records.close()


@contextmanager
def terminal_token(app: App, *, only_if_closed: bool = False, name: str | None = None) -> Iterator[str | None]:
    """A token of the local owner for as long as the block runs: whoever may read the data folder is its owner."""
    from headwater.core.types import Access
    from headwater.hub.accounts import is_open, issue_token, owner_actor

    owner = owner_actor(app.hub)
    if only_if_closed and is_open(app.hub):
        yield None
        return
    name = name or f"terminal {socket.gethostname()} {os.getpid()} {secrets.token_hex(3)}"
    app.hub.accounts.revoke(owner.account, name, by=owner)  # of a process that was killed
    secret, _ = issue_token(app.hub, owner, name, scope=Access.WRITE)
    try:
        yield secret
    finally:
        app.hub.accounts.revoke(owner.account, name, by=owner)


@contextmanager
def held_alone(settings: Settings) -> Iterator[App]:
    """The app over a data folder nobody else uses meanwhile: for `up`."""
    with held(settings, alone=True):
        from headwater.app import open_app

        app = open_app(settings)
        try:
            yield app
        finally:
            app.records.close()


@contextmanager
def data_folder(common: Common) -> Iterator[App]:
    """The app over the data folder, not serving: for backup, which may run beside the hub."""
    from headwater.app import open_app

    if os.environ.get("HEADWATER_URL") and common.data is None and not os.environ.get("HEADWATER_DATA"):
        raise BadInput("A backup is taken on the machine of the hub.", hint="Name its data folder with --data there.")
    data = common.data or default_data()
    if not data.is_dir():
        raise BadInput(f"There is no data folder {data}.", hint="Name it with --data.")
    app = open_app(load(common.data))
    try:
        yield app
    finally:
        app.records.close()


def restore_here(common: Common, source: Path, progress: Progress) -> tuple[Path, Restored]:
    """(data folder, what was restored into it). Nobody else may use the folder meanwhile."""
    from headwater.app import restore_into

    settings = load(common.data)
    with held(settings, alone=True):
        return settings.data, restore_into(settings, source.absolute(), progress)
