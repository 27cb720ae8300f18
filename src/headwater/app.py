"""The composition root: the only module that names concrete stores, engines and executors.

open_app(settings) builds everything; App.start() sets it running; App.http is what a server serves.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from headwater import __version__
from headwater.api import anthropic, errors, hf, kling, ollama, openai, own
from headwater.api.deps import get_actor
from headwater.api.http import KeepSegments, RateLimit, SafeHeaders
from headwater.api.kling.answer import task as kling_task
from headwater.api.openai.response_keeper import Keeper
from headwater.chat import Chat
from headwater.chat.asked import answer_all
from headwater.chat.form_probe import BUILD_JOB, PROBE_JOB, probe_job
from headwater.chat.models import find as find_model
from headwater.chat.types import ChatModel, ChatRequest
from headwater.core.errors import BadInput, ModelNotFound, NotFound, Unavailable
from headwater.core.events import REPO_DELETED, REVISION_STORED
from headwater.core.ports import Archive
from headwater.core.settings import Settings
from headwater.core.types import Actor, Commit, Event, Kind, Oid, Repo, Search, Snapshot
from headwater.core.work import Progress, Work
from headwater.engines import ENGINES
from headwater.film import Film
from headwater.film.callback import KIND as CALLBACK
from headwater.film.callback import callback_job
from headwater.film.elsewhere import AT_ONCE, HERE, THERE
from headwater.film.make import film_job
from headwater.film.measuring import KIND as MEASURES
from headwater.film.measuring import measuring_job
from headwater.film.order import resume
from headwater.film.process import Warm
from headwater.film_engines import FILM_ENGINES
from headwater.hub import Hub
from headwater.hub.access import find_repo
from headwater.hub.accounts import local_owner, owner_actor
from headwater.hub.backup import BackedUp, Restored, backup, check_whole, restore
from headwater.hub.browse import files, resolve
from headwater.hub.commit import describe
from headwater.hub.descent import Parents, descent_job, is_worth_trying
from headwater.hub.imports import import_job
from headwater.hub.intake import stage
from headwater.hub.scan import scan_job
from headwater.hub.snapshot import forget_snapshots, lay_out
from headwater.hub.speech import speech
from headwater.hub.sweep import scrub_job, sweep_job
from headwater.jobs.local import LocalJobs
from headwater.storage import tables
from headwater.storage.blobs import open_blobs
from headwater.storage.blobs.differences import DifferenceBlobs
from headwater.storage.database import Database, open_engine
from headwater.storage.dump import SqlArchive
from headwater.storage.records import Records, open_records
from headwater.talks import Talks
from headwater.trace import Trace
from headwater.trace.asking import TOKENS, Way, message
from headwater.trace.closed import Closed, behaviour_job
from headwater.trace.closer import closer_job
from headwater.trace.fingerprint import VERSION as FINGERPRINT
from headwater.trace.mixing import merge_job
from headwater.trace.reading import ModelFile
from headwater.trace.whole import compare_job
from headwater.trace.work import enqueue as enqueue_trace
from headwater.trace.work import trace_all_job, trace_job
from headwater.web import mount as mount_pages

log = logging.getLogger("headwater")


@dataclass(frozen=True)
class App:
    settings: Settings
    hub: Hub
    chat: Chat
    talks: Talks
    film: Film
    responses: Keeper
    trace: Trace
    closed: Closed
    http: FastAPI
    records: Records
    archive: Archive
    pump: Pump = field(repr=False)

    def start(self) -> None:
        """Work begins: jobs left by a process that died run again, events not yet heard are told."""
        local_owner(self.hub)
        self.hub.jobs.start()
        resume(self.film)
        self.pump.start()
        if self.settings.trace_uploads and self.trace.records.unread(FINGERPRINT, limit=1):
            self.hub.jobs.enqueue("trace-all", {}, title="Trace", by="headwater", key="trace-all")

    def stop(self) -> None:
        self.pump.stop()
        self.hub.jobs.stop()
        if self.film.warm is not None:
            self.film.warm.close()
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
    jobs = LocalJobs(records.database, tables.jobs, tables.pauses, now=now)
    blobs = DifferenceBlobs(open_blobs(settings.blobs_url, settings.blobs_options, settings.data), records.deltas)
    hub = Hub(settings, blobs, records.repos, records.history, records.holdings, records.accounts, records.bus, jobs,
              tmp, now, differences=blobs)
    chat = Chat(settings, ENGINES, find_model=_find_model(hub), lay_out=lambda repo, commit: lay_out(hub, repo, commit),
                list_models=_list_models(hub), list_files=lambda commit: [e.path for e in files(hub, commit)],
                spending=records.spending, speech=lambda repo, commit: speech(hub, repo, commit))
    trace = Trace(records.lineage, records.repos, jobs, settings.data / "trace", _model_files(hub), _read_bytes(hub),
                  _find_readable(hub))
    _register_jobs(hub, chat, trace)
    pump = Pump(hub, trace)
    http = FastAPI(title="Headwater", version=__version__, lifespan=_lifespan, docs_url=None, redoc_url=None,
                   description="The Hugging Face Hub's API for its own clients, OpenAI's for theirs, and Headwater's.")
    film = _open_film(hub, records, settings)
    talks = Talks(settings, records.conversations, records.files, blobs, partial(stage, hub), now)
    closed = Closed(trace, records.behaviours, _ask_many(hub, chat, http), now)
    jobs.register("behaviour", behaviour_job(closed), at_once=1)
    app = App(settings, hub, chat, talks, film, Keeper(settings, records.responses, now), trace, closed, http, records,
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
    for router in (*own.routers(), *anthropic.routers(), *ollama.routers(), *kling.routers(), *openai.routers(),
                   *hf.routers()):
        http.include_router(router)
    mount_pages(http, app, get_actor)


@asynccontextmanager
async def _lifespan(http: FastAPI) -> AsyncIterator[None]:
    app: App = http.state.headwater
    http.state.loop = asyncio.get_running_loop()
    app.start()
    try:
        yield
    finally:
        # Before the room that talks: work may be waiting for its answers.
        await asyncio.to_thread(app.hub.jobs.stop)
        await app.responses.close()
        await app.chat.close()
        app.stop()


def _open_film(hub: Hub, records: Records, settings: Settings) -> Film:
    film = Film(settings, FILM_ENGINES, records.films, records.files, hub.blobs, hub.jobs,
                find_model=_find_model(hub), find_commit=_find_commit(hub), find_account=hub.accounts.get,
                lay_out=lambda repo, commit: lay_out(hub, repo, commit),
                list_files=lambda commit: [e.path for e in files(hub, commit)], stage=partial(stage, hub),
                tmp=hub.tmp, now=hub.now, votes=records.film_votes,
                list_models=_list_models(hub), read_text=_read_text(hub),
                warm=Warm(settings.worker_idle_s, settings.data / "film" / "kept"), spend=records.spending.spend,
                note=lambda action, subject, by, detail: hub.accounts.note(action, subject, by=by, detail=detail))
    hub.jobs.register(HERE, film_job(film), at_once=1, fair=True)
    hub.jobs.register(THERE, film_job(film), at_once=AT_ONCE, fair=True)
    hub.jobs.register(MEASURES, measuring_job(film))
    hosts = [host.strip().lower() for host in settings.callback_hosts.split(",") if host.strip()]
    base = settings.public_url or f"http://{settings.host}:{settings.port}"
    hub.jobs.register(CALLBACK, callback_job(film, lambda kept: kling_task(hub, kept, base.rstrip("/")), hosts),
                      at_once=4)
    return film


def _ask_many(hub: Hub, chat: Chat, http: FastAPI) -> Callable[[Repo, Oid, Way, Sequence[str]], list[str]]:
    """Answers of a model of this hub, for jobs. The owner asks: whoever ordered the work was seen to."""

    def ask(repo: Repo, revision: Oid, way: Way, prompts: Sequence[str]) -> list[str]:
        name, more = f"{repo.full_name}@{revision}", {"temperature": 0.0, "seed": 0, "max_tokens": TOKENS[way]}
        requests = [ChatRequest(name, ({"role": "user", "content": message(p)},), **more) if way == "chat" else
                    ChatRequest(name, (), prompt=p, **more) for p in prompts]
        waited = asyncio.run_coroutine_threadsafe(answer_all(chat, owner_actor(hub), requests), http.state.loop)
        try:
            return waited.result()
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    return ask


def _to_run(hub: Hub, chat: Chat, name: str) -> tuple[ChatModel, Snapshot]:
    """A model by its exact name, for work an administrator ordered."""
    model = find_model(chat, owner_actor(hub), name)
    return model, lay_out(hub, model.repo, model.commit)


def _register_jobs(hub: Hub, chat: Chat, trace: Trace) -> None:
    hub.jobs.register("sweep", sweep_job(hub))
    hub.jobs.register("scrub", scrub_job(hub))
    hub.jobs.register("scan", scan_job(hub), at_once=1)
    hub.jobs.register("import", import_job(hub), at_once=2)
    hub.jobs.register(PROBE_JOB, probe_job(hub.settings, lambda name: _to_run(hub, chat, name)), at_once=1)
    hub.jobs.register(BUILD_JOB, lambda payload, progress: ENGINES["llamacpp"].make_build(hub.settings, progress))
    parents = _parents(hub, trace)
    hub.jobs.register("descent", descent_job(hub, parents), at_once=1)
    closer = hub.settings.trace_closer_models
    hub.jobs.register("trace", _then_descent(hub, trace_job(trace, looks_closer=closer > 0), parents), at_once=1)
    hub.jobs.register("trace-closer", closer_job(trace, closer, hub.settings.trace_closer_max_bytes), at_once=1)
    hub.jobs.register("trace-all", trace_all_job(trace), at_once=1)
    hub.jobs.register("trace-merge", merge_job(trace, hub.settings.trace_merge_max_bytes), at_once=1)
    hub.jobs.register("compare", compare_job(trace), at_once=1)


class Pump(threading.Thread):
    """Tells what rooms announced to those who listen, at least once each, and starts the sweep when it is due.

    Listeners must bear hearing the same thing twice: a crash after telling tells again.
    """

    TICK_S = 0.5

    def __init__(self, hub: Hub, trace: Trace):
        super().__init__(name="pump", daemon=True)
        self._hub = hub
        self._stopping = threading.Event()
        self._listeners: dict[str, list[Callable[[Hub, dict[str, Any]], None]]] = {
            REVISION_STORED: [_describe_again, _scan, partial(_trace, trace)],
            REPO_DELETED: [_forget_snapshots, partial(_forget_fingerprints, trace)]}
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
            if self._hub.settings.descent_percent:
                self._hub.jobs.enqueue("descent", {}, title="Keep differences", by="headwater", key="descent")


def _describe_again(hub: Hub, payload: dict[str, Any]) -> None:
    # commit() has done so already, unless the process died in between.
    repo = hub.repos.get(payload["repo_id"])
    if repo and payload["ref"] == "refs/heads/main":
        describe(hub, repo)


def _scan(hub: Hub, payload: dict[str, Any]) -> None:
    hub.jobs.enqueue("scan", {"repo_id": payload["repo_id"], "revision": payload["revision"]},
                     title=f"Scan {payload['name']}", by="headwater", key=f"scan {payload['revision']}")


def _trace(trace: Trace, hub: Hub, payload: dict[str, Any]) -> None:
    repo = hub.repos.get(payload["repo_id"]) if hub.settings.trace_uploads else None
    if repo and repo.kind is Kind.MODEL and payload["ref"] == "refs/heads/main":
        enqueue_trace(trace, repo, payload["revision"], by="headwater")


def _forget_fingerprints(trace: Trace, hub: Hub, payload: dict[str, Any]) -> None:
    if gone := trace.records.prune():
        trace.index.remove(gone)


def _parents(hub: Hub, trace: Trace) -> Parents:
    """Revisions a revision's files may be like: what trace found it to descend from, then kin read before it, then
    what it replaced. Of any repo: how bytes are kept is told to nobody who may not read them."""

    def parents(repo: Repo, revision: Oid) -> list[tuple[Repo, Oid]]:
        kept, found = trace.records.at(repo, revision), []
        if kept is not None:
            for edge in trace.records.edges([kept.id]):
                mine, other = (edge.a_id == kept.id), edge.b_id if edge.a_id == kept.id else edge.a_id
                known = edge.direction == ("a-from-b" if mine else "b-from-a")
                if known or (edge.direction == "unknown" and other < kept.id):
                    found.append((not known, -(edge.agreement or 0), other))
        order = [other for *_, other in sorted(found)]
        places = sorted(trace.records.places(order, None), key=lambda p: order.index(p.fingerprint_id))
        commit = hub.history.commit(repo, revision)
        return [(p.repo, p.revision) for p in places] + [(repo, oid) for oid in (commit.parents if commit else ())]

    return parents


def _then_descent(hub: Hub, work: Work, parents: Parents) -> Work:
    """`work`, and once its revision's parents are known, the job that keeps its files as the difference to theirs."""

    def both(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        done, repo = work(payload, progress), hub.repos.get(payload["repo_id"])
        if repo is not None and is_worth_trying(hub, repo, payload["revision"], parents):
            hub.jobs.enqueue("descent", {"repo_id": repo.id, "revision": payload["revision"]}, by="headwater",
                             title=f"Keep {repo.full_name} as a difference", key=f"descent {payload['revision']}")
        return done

    return both


def _model_files(hub: Hub) -> Callable[[Repo, Oid], dict[str, ModelFile]]:
    def files_of(repo: Repo, revision: Oid) -> dict[str, ModelFile]:
        found = files(hub, resolve(hub, repo, revision))
        return {f.path: ModelFile(f.size, f.digest, hub.blobs.path(f.digest)) for f in found if f.digest}

    return files_of


def _read_bytes(hub: Hub) -> Callable[[str, int, int], bytes]:
    def read(digest: str, start: int, stop: int) -> bytes:
        try:
            return b"".join(hub.blobs.read(digest, start, stop))
        except FileNotFoundError:
            raise Unavailable("Bytes of the model are damaged or lost.", hint="Upload the file again.") from None

    return read


def _find_readable(hub: Hub) -> Callable[[Actor, str], Repo | None]:
    def find(actor: Actor, name: str) -> Repo | None:
        try:
            return find_repo(hub, actor, Kind.MODEL, name)
        except (NotFound, BadInput):
            return None

    return find


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


def _read_text(hub: Hub) -> Callable[[Commit, str], str | None]:
    def read_text(commit: Commit, path: str) -> str | None:
        entry = next((one for one in files(hub, commit) if one.path == path), None)
        if entry is None or entry.size > 100_000:
            return None
        return b"".join(hub.blobs.read(entry.digest)).decode("utf-8", errors="replace")

    return read_text


def _find_commit(hub: Hub) -> Callable[[str, str], tuple[Repo, Commit]]:
    def find(name: str, revision: str) -> tuple[Repo, Commit]:
        repo = hub.repos.find(Kind.MODEL, *name.split("/", 1))
        commit = hub.history.commit(repo, revision) if repo else None
        if repo is None or commit is None:
            raise ModelNotFound(f"The model {name} is not here any more at {revision[:8]}.")
        return repo, commit

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


