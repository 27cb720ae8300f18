"""The nouns that cross from one room to another. All frozen; times are seconds since 1970, UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

Digest = str
"""sha256 of some bytes, 64 lower-case hex characters."""
Oid = str
"""A git object id: sha1, 40 lower-case hex characters. A revision is the oid of a commit."""

EMPTY_TREE: Oid = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class Kind(StrEnum):
    MODEL = "model"
    DATASET = "dataset"


class Access(StrEnum):
    """What an actor may do with a repo or a namespace; each includes the ones before it."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def covers(self, need: Access) -> bool:
        order = list(Access)
        return order.index(self) >= order.index(need)


# --- who


@dataclass(frozen=True)
class Account:
    """A user or an organisation; both live in one namespace of names."""

    id: int
    name: str
    is_org: bool
    fullname: str
    email: str | None
    is_admin: bool
    created_at: float


@dataclass(frozen=True)
class Membership:
    """`user` belongs to `org`. READ sees private repos, WRITE pushes, ADMIN manages."""

    org: Account
    user: Account
    role: Access


@dataclass(frozen=True)
class Token:
    """A row of the token table; the secret itself is shown once and kept only as a hash.

    scope: READ or WRITE, or ADMIN for a browser session. repos: None for every repo the account can
    reach, else "kind/owner/name" of the only ones it opens. expires_at: None means never.
    """

    id: int
    account_id: int
    name: str
    scope: Access
    repos: tuple[str, ...] | None
    created_at: float
    expires_at: float | None
    last_used_at: float | None


@dataclass(frozen=True)
class Actor:
    """Who is asking. account None is a stranger; `scope` caps whatever the account itself may do."""

    account: Account | None
    scope: Access = Access.NONE
    token_id: int | None = None
    token_name: str | None = None
    repos: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        return self.account.name if self.account else "anonymous"

    @property
    def is_admin(self) -> bool:
        return self.account is not None and self.account.is_admin and self.scope.covers(Access.WRITE)


ANYONE = Actor(account=None)


# --- what is kept


@dataclass(frozen=True)
class Card:
    """What README.md says of the repo: its front matter, and the search tags made from it.

    data: the parsed YAML (a dict; empty when there is none). problem: why it could not be read, or None.
    """

    data: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Repo:
    id: int
    kind: Kind
    owner: str
    name: str
    private: bool
    created_at: float
    updated_at: float
    head: Oid | None
    """Revision of the main branch; None only while it is being made."""
    size_bytes: int
    """Bytes of the files at main."""
    likes: int
    downloads: int
    card: Card

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.owner}/{self.name}"


class EntryKind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class Entry:
    """One name in a tree. For a file `digest` names its bytes and `size` counts them; for a directory
    `oid` is the tree it opens, `size` is 0 and `digest` is None.

    path is relative to the directory that holds it in a stored tree, to the repo's root in a listing.
    lfs: the git view of this file is a pointer (`oid` is the pointer's), so clients see sha256 as its ETag.
    """

    path: str
    kind: EntryKind
    oid: Oid
    size: int = 0
    digest: Digest | None = None
    lfs: bool = False


@dataclass(frozen=True)
class Tree:
    """One directory: its git oid and its entries, sorted as git sorts them."""

    oid: Oid
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Commit:
    """A genuine git commit: `oid` is the sha1 of git's own commit object over these fields."""

    oid: Oid
    tree: Oid
    parents: tuple[Oid, ...]
    author: str
    email: str
    title: str
    message: str
    """The body under the title; may be empty."""
    created_at: int


@dataclass(frozen=True)
class Ref:
    """name is git's: refs/heads/main, refs/tags/v1. message is an annotated tag's, else None."""

    name: str
    commit: Oid
    message: str | None = None

    @property
    def short(self) -> str:
        return self.name.split("/", 2)[2]


@dataclass(frozen=True)
class Staged:
    """Bytes received in full but not yet kept: a file in tmp/, its sha256 and size."""

    path: str
    digest: Digest
    size: int
    git_oid: Oid | None = None


@dataclass(frozen=True)
class Search:
    """A question to the list of repos. `viewer` sees public repos and the private ones it may read.

    sort: one of created, updated, likes, downloads, name, size. after: opaque cursor of the page before.
    """

    kind: Kind
    viewer: Actor
    text: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    sort: str = "updated"
    descending: bool = True
    limit: int = 100
    after: str | None = None


class RepoPage(NamedTuple):
    repos: list[Repo]
    next: str | None
    """Cursor of the page after this one; None when this is the last."""


class Stale(NamedTuple):
    """A ref was not where it was said to be. found is None when there is no such ref."""

    found: Oid | None


@dataclass(frozen=True)
class AuditRow:
    """One write: who, with which token, did what to what. Rows are only ever added."""

    id: int
    at: float
    actor: str
    token: str | None
    action: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class Delta:
    """Bytes kept as the difference to others. base: the digest of those, always kept whole. packed: the digest under
    which the difference is kept, `size` bytes. state: making (being written: nobody may rely on it), ready, leaving
    (the bytes are whole again), or plain (it was tried and saved too little; base and packed are None)."""

    digest: Digest
    base: Digest | None
    packed: Digest | None
    size: int
    state: str
    at: float


class Pair(NamedTuple):
    """Bytes [start, stop) of one model file and, from `base` on, as many of another that stand for the same tensor."""

    start: int
    stop: int
    base: int
    dtype: str


@dataclass(frozen=True)
class Finding:
    """What a scan says of one file. level: safe, notice (runs code if asked to), suspicious, dangerous."""

    path: str
    level: Literal["safe", "notice", "suspicious", "dangerous"]
    reason: str


# --- what happens


@dataclass(frozen=True)
class Event:
    """Something a room announces, written in the same transaction as the thing itself."""

    id: int
    name: str
    payload: dict[str, Any]
    at: float


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Job:
    """Long work. done/total count in `unit`; total is None while it is not known.

    key: idempotence: enqueueing a key that is queued or running answers the job there is. place: in the line of those
    that wait, the smallest first. held: it waits on and is not taken until it is let go.
    """

    id: str
    kind: str
    title: str
    payload: dict[str, Any]
    state: JobState
    stage: str
    done: int
    total: int | None
    unit: str
    result: dict[str, Any] | None
    error: str | None
    actor: str
    key: str | None
    attempts: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    place: int = 0
    held: bool = False


@dataclass(frozen=True)
class KeptResponse:
    """A response as OpenAI's clients see it, and the input items it answers, those of responses before it included.

    heartbeat_at: when a gateway last said that it is under way; None once it has ended.
    """

    id: str
    created_at: float
    shown: dict[str, Any]
    items: list[dict[str, Any]]
    heartbeat_at: float | None = None


# --- what is said


@dataclass(frozen=True)
class Conversation:
    """What a person and models said to each other: a tree of messages, of which one branch is shown.

    leaf: the message the shown branch ends with; None while there is none. settings: the page's own, for sampling.
    share_key: who knows it and may sign in may read the shown branch; None means nobody else may.
    """

    id: str
    account_id: int
    title: str
    folder: str
    system: str
    model: str
    settings: dict[str, Any]
    leaf: str | None
    share_key: str | None
    created_at: float
    updated_at: float
    """When a message last came or went."""


@dataclass(frozen=True)
class Message:
    """One node. parent_id: the message it answers; None for a first one.

    content: a text, or parts in OpenAI's form. made: the receipt of an answer: revision, engine, seed, usage, seconds.
    """

    id: str
    parent_id: str | None
    role: str
    content: str | list[dict[str, Any]]
    reasoning: str
    model: str
    made: dict[str, Any]
    created_at: float

    @property
    def text(self) -> str:
        """What a person reads in it."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part["text"] for part in self.content if isinstance(part.get("text"), str))


class FoundConversation(NamedTuple):
    """snippet: of the first message that holds what was asked for, else of the leaf."""

    conversation: Conversation
    snippet: str


@dataclass(frozen=True)
class Preset:
    """A way to ask that a person keeps under a name. body: system, model, temperature and so on."""

    id: str
    account_id: int
    name: str
    body: dict[str, Any]
    created_at: float


@dataclass(frozen=True)
class KeptFile:
    """A file somebody handed over, to be shown to models. text: what can be read in it; None if nothing can."""

    id: str
    account_id: int
    name: str
    purpose: str
    media_type: str
    digest: Digest
    size: int
    text: str | None
    created_at: float


@dataclass(frozen=True)
class KeptFilm:
    """A film somebody asked for, made or not. Its files are KeptFiles of the same account, named by id.

    id: "video_" and 32 hex. state: queued, running, done, failed or cancelled; job_id names the job behind it. asked:
    the request in plain JSON, with the seed that was drawn and what was said about it (`notes`). photo: the first
    frame, None for a film from words. receipt: what made it (engine build, revision, seconds), once it is done.
    error: the sentence of why not. mark: film/mark.py's, to find it again. external_id: the asker's own name for it.
    edition: counts the changes made to the order while it waited. wish: "finish" once its maker was asked to keep what
    there is.
    noted: what its engine wants to know when the work is begun again (its order's id at another server).
    """

    id: str
    account_id: int
    job_id: str | None
    state: str
    asked: dict[str, Any]
    photo: str | None
    video: str | None
    poster: str | None
    sheet: str | None
    receipt: dict[str, Any] | None
    error: str | None
    mark: bytes | None
    remixed_from: str | None
    external_id: str | None
    created_at: float
    finished_at: float | None
    edition: int = 0
    wish: str | None = None
    noted: dict[str, Any] | None = None


@dataclass(frozen=True)
class FilmVote:
    """Which of two films somebody who did not see their names liked better. a, b: the films' ids, a < b. said: "a",
    "b", "tie" or "bad" (neither). seed: of which side each was on. made_a, made_b: what made them (`model`, `engine`,
    `revision`, ...), so that a vote can be counted when the films are gone."""

    account_id: int
    a: str
    b: str
    seed: int
    said: str
    made_a: dict[str, Any]
    made_b: dict[str, Any]
    prompt: str
    at: float


# --- what runs


@dataclass(frozen=True)
class Snapshot:
    """A revision laid out as a folder an engine can read (hard links to blobs where that works)."""

    repo: Repo
    revision: Oid
    folder: str
    files: tuple[Entry, ...]


@dataclass(frozen=True)
class Endpoint:
    """A running worker: OpenAI chat over HTTP on loopback, opened by a key made at its start."""

    url: str
    key: str
    pid: int
    engine: str
    build: str
