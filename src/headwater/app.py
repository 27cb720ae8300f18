"""The composition root: the only module that names concrete stores, engines and executors.

open_app(settings) builds everything; App.start() sets it running; App.http is what a server serves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from headwater import __version__
from headwater.api import anthropic, errors, hf, ollama, openai, own
from headwater.api.deps import get_actor
from headwater.api.http import KeepSegments, RateLimit, SafeHeaders
from headwater.api.openai.response_keeper import Keeper
from headwater.chat import Chat
from headwater.core.errors import BadInput, ModelNotFound, NotFound
from headwater.core.events import REPO_DELETED, REVISION_STORED
from headwater.core.ports import Archive, Progress
from headwater.core.settings import Settings
from headwater.core.types import Actor, Commit, Event, Kind, Oid, Repo, Search
from headwater.engines import ENGINES
from headwater.hub import Hub
from headwater.hub.access import find_repo
from headwater.hub.accounts import local_owner
from headwater.hub.backup import BackedUp, Restored, backup, check_whole, restore
from headwater.hub.browse import files, resolve
from headwater.hub.commit import describe
from headwater.hub.imports import import_job
from headwater.hub.intake import stage
from headwater.hub.scan import scan_job
from headwater.hub.snapshot import forget_snapshots, lay_out
from headwater.hub.sweep import scrub_job, sweep_job
from headwater.jobs.local import LocalJobs
from headwater.storage import tables
from headwater.storage.blobs import open_blobs
from headwater.storage.database import Database, open_engine
from headwater.storage.dump import SqlArchive
from headwater.storage.records import Records, open_records
from headwater.talks import Talks
from headwater.web import mount as mount_pages

log = logging.getLogger("headwater")


@dataclass(frozen=True)
class App:
    settings: Settings
    hub: Hub
    chat: Chat
    talks: Talks
    responses: Keeper
    http: FastAPI
    records: Records
    archive: Archive
    pump: Pump = field(repr=False)

    def start(self) -> None:
        """Work begins: jobs left by a process that died run again, events not yet heard are told."""
        local_owner(self.hub)
        self.hub.jobs.start()
        self.pump.start()

    def stop(self) -> None:
        self.pump.stop()
        self.hub.jobs.stop()
        self.records.close()

    def backup(self, target: Path, progress: Progress | None = None) -> BackedUp:
        """hub.backup.backup; also beside another process that serves the same data folder."""
        return backup(self.hub, self.archive, target, progress)


def open_app(settings: Settings, now: Callable[[], float] = time.time) -> App:
    """The hub of a data folder, not yet running. Makes the folder and brings the database up to date."""
    settings.data.mkdir(parents=True, exist_ok=True)
    check_whole(settings.data)
    tmp = settings.data / "tmp"
    tmp.mkdir(exist_ok=True)
    records = open_records(settings.database_url or None, settings.data, now)
    jobs = LocalJobs(records.database, tables.jobs, now=now)
    blobs = open_blobs(settings.blobs_url, settings.blobs_options, settings.data)
    hub = Hub(settings, blobs, records.repos, records.history, records.holdings, records.accounts, records.bus, jobs,
              tmp, now)
    chat = Chat(settings, ENGINES, find_model=_find_model(hub), lay_out=lambda repo, commit: lay_out(hub, repo, commit),
                list_models=_list_models(hub), list_files=lambda commit: [e.path for e in files(hub, commit)],
                spending=records.spending)
    _register_jobs(hub)
    pump = Pump(hub)
    http = FastAPI(title="Headwater", version=__version__, lifespan=_lifespan, docs_url=None, redoc_url=None,
                   description="The Hugging Face Hub's API for its own clients, OpenAI's for theirs, and Headwater's.")
    talks = Talks(settings, records.conversations, records.files, blobs, partial(stage, hub), now)
    app = App(settings, hub, chat, talks, Keeper(settings, records.responses, now), http, records,
              SqlArchive(records.database), pump)
    http.state.headwater = app
    _routes(http, app)
    return app


def restore_into(settings: Settings, source: Path, progress: Progress | None = None) -> Restored:
    """hub.backup.restore into the stores the settings name. No hub may serve them meanwhile."""
    settings.data.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.database_url or None, settings.data)
    try:
        return restore(source, settings.data, SqlArchive(Database(engine, time.time)),
                       open_blobs(settings.blobs_url, settings.blobs_options, settings.data), progress)
    finally:
        engine.dispose()


def _routes(http: FastAPI, app: App) -> None:
    # Order matters: pages and APIs with fixed names before the Hub's /{owner}/{name}, its catch-all 404 last.
    errors.install(http)
    http.add_middleware(RateLimit, per_minute=app.settings.requests_per_minute)
    http.add_middleware(SafeHeaders)
    http.add_middleware(KeepSegments)
    for router in (*own.routers(), *anthropic.routers(), *ollama.routers(), *openai.routers(),
                   *hf.routers()):
        http.include_router(router)
    mount_pages(http, app, get_actor)


@asynccontextmanager
async def _lifespan(http: FastAPI) -> AsyncIterator[None]:
    app: App = http.state.headwater
    app.start()
    try:
        yield
    finally:
        await app.responses.close()
        await app.chat.close()
        app.stop()


def _register_jobs(hub: Hub) -> None:
    hub.jobs.register("sweep", sweep_job(hub))
    hub.jobs.register("scrub", scrub_job(hub))
    hub.jobs.register("scan", scan_job(hub), at_once=1)
    hub.jobs.register("import", import_job(hub), at_once=2)


class Pump(threading.Thread):
    """Tells what rooms announced to those who listen, at least once each, and starts the sweep when it is due.

    Listeners must bear hearing the same thing twice: a crash after telling tells again.
    """

    TICK_S = 0.5

    def __init__(self, hub: Hub):
        super().__init__(name="pump", daemon=True)
        self._hub = hub
        self._stopping = threading.Event()
        self._listeners: dict[str, list[Callable[[Hub, dict[str, Any]], None]]] = {
            REVISION_STORED: [_describe_again, _scan], REPO_DELETED: [_forget_snapshots]}
        self._swept_at = hub.now()

    def run(self) -> None:
        while not self._stopping.wait(self.TICK_S):
            try:
                heard = [self._tell(event) for event in self._hub.bus.pending()]
                self._sweep_if_due()
            except Exception:  # a database restart must not end the pump for good
                log.exception("the announcements could not be read")
                heard = [False]
            if not all(heard):
                self._stopping.wait(5)

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(10)

    def _tell(self, event: Event) -> bool:
        """Whether all listeners heard it. One that breaks must not keep the others' events waiting."""
        try:
            for listener in self._listeners.get(event.name, []):
                listener(self._hub, event.payload)
            self._hub.bus.delivered(event)
        except Exception:  # whatever it was, it is in the log, and the event is told again
            log.exception("the announcement %s was not heard; it will be told again", event.name)
            return False
        return True

    def _sweep_if_due(self) -> None:
        every = self._hub.settings.sweep_every_s
        now = self._hub.now()
        # A clock that jumped back would otherwise put the next sweep off by as much.
        self._swept_at = min(self._swept_at, now)
        if every and now - self._swept_at >= every:
            self._swept_at = now
            self._hub.jobs.enqueue("sweep", {}, title="Sweep", by="headwater", key="sweep")


def _describe_again(hub: Hub, payload: dict[str, Any]) -> None:
    # commit() has done so already, unless the process died in between.
    repo = hub.repos.get(payload["repo_id"])
    if repo and payload["ref"] == "refs/heads/main":
        describe(hub, repo)


def _scan(hub: Hub, payload: dict[str, Any]) -> None:
    hub.jobs.enqueue("scan", {"repo_id": payload["repo_id"], "revision": payload["revision"]},
                     title=f"Scan {payload['name']}", by="headwater", key=f"scan {payload['revision']}")


def _forget_snapshots(hub: Hub, payload: dict[str, Any]) -> None:
    forget_snapshots(hub, payload["repo_id"])


def _find_model(hub: Hub) -> Callable[[Actor, str], tuple[Repo, Commit]]:
    def find(actor: Actor, name: str) -> tuple[Repo, Commit]:
        full_name, _, revision = name.partition("@")
        try:
            repo = find_repo(hub, actor, Kind.MODEL, full_name)
            return repo, resolve(hub, repo, revision or "main")
        except (NotFound, BadInput) as error:
            raise ModelNotFound(f"The model {name[:200]!r} is not here: {error.message}",
                                hint="GET /v1/models lists those you can talk to.") from None

    return find


def _list_models(hub: Hub) -> Callable[[Actor], list[tuple[Repo, Commit]]]:
    # A commit never changes, so it is read once: with a thousand models that is the difference between 1 s and 10 ms.
    @lru_cache(maxsize=10_000)
    def commit_of(repo_id: int, head: Oid) -> Commit | None:
        repo = hub.repos.get(repo_id)
        return hub.history.commit(repo, head) if repo else None

    def list_models(actor: Actor) -> list[tuple[Repo, Commit]]:
        repos = hub.repos.search(Search(Kind.MODEL, actor, limit=1000)).repos
        return [(repo, commit) for repo in repos if repo.head and (commit := commit_of(repo.id, repo.head))]

    return list_models


