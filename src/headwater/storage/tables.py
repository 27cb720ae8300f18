"""The tables, as SQLAlchemy Core. Knows columns and keys; the verbs are in records/, the history in migrations/.

A change here needs a migration beside it: tests/storage/test_migrations.py compares the two on both databases.
Times are seconds since 1970; a `key` is a name in lower case, so that names differing only in case clash.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
})

Id = BigInteger().with_variant(Integer(), "sqlite")
# Compared byte by byte on both databases, whatever the locale of the PostgreSQL cluster: pages sorted by name
# come out alike, and a prefix of an oid can use the index.
Key = Text().with_variant(Text(collation="C"), "postgresql")
_LIVE = text("state IN ('queued', 'running')")


def _serial() -> Column:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _repo_id(**options: bool) -> Column:
    return Column("repo_id", Id, ForeignKey("repos.id", ondelete="CASCADE"), nullable=False, **options)


def _account_id(name: str = "account_id", **options: bool) -> Column:
    return Column(name, Id, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, **options)


# --- who. sqlite_autoincrement: an id is never given twice, because events and audit rows outlive what they name.

accounts = Table(
    "accounts", metadata,
    _serial(),
    Column("name", Text, nullable=False),
    Column("key", Key, nullable=False, unique=True),
    Column("is_org", Boolean, nullable=False),
    Column("fullname", Text, nullable=False),
    Column("email", Text),
    Column("is_admin", Boolean, nullable=False),
    Column("password_hash", Text),
    Column("created_at", Float, nullable=False),
    sqlite_autoincrement=True,
)

memberships = Table(
    "memberships", metadata,
    _account_id("org_id", primary_key=True),
    _account_id("user_id", primary_key=True, index=True),
    Column("role", Text, nullable=False),
)

tokens = Table(
    "tokens", metadata,
    _serial(),
    _account_id(),
    Column("name", Text, nullable=False),
    Column("secret_hash", Key, nullable=False, unique=True),
    Column("scope", Text, nullable=False),
    Column("repos", JSON(none_as_null=True)),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("last_used_at", Float),
    UniqueConstraint("account_id", "name"),
    sqlite_autoincrement=True,
)

secrets = Table(
    "secrets", metadata,
    Column("name", Key, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# --- repos

repos = Table(
    "repos", metadata,
    _serial(),
    Column("kind", Key, nullable=False),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner_key", Key, nullable=False, index=True),
    Column("key", Key, nullable=False),  # owner/name in lower case
    Column("private", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("head", Key),
    Column("size_bytes", BigInteger, nullable=False),
    Column("likes", BigInteger, nullable=False),
    Column("downloads", BigInteger, nullable=False),
    Column("card", JSON, nullable=False),  # {data, tags, problem}
    UniqueConstraint("kind", "key"),
    # One index for each order search can page through.
    Index("ix_repos_created", "kind", "created_at", "id"),
    Index("ix_repos_updated", "kind", "updated_at", "id"),
    Index("ix_repos_likes", "kind", "likes", "id"),
    Index("ix_repos_downloads", "kind", "downloads", "id"),
    Index("ix_repos_size", "kind", "size_bytes", "id"),
    sqlite_autoincrement=True,
)

redirects = Table(
    "redirects", metadata,
    Column("kind", Key, primary_key=True),
    Column("key", Key, primary_key=True),
    _repo_id(index=True),
)

repo_tags = Table(
    "repo_tags", metadata,
    _repo_id(primary_key=True),
    Column("tag", Key, primary_key=True, index=True),
    sqlite_with_rowid=False,
)

likes = Table(
    "likes", metadata,
    _repo_id(primary_key=True),
    _account_id(primary_key=True, index=True),
    Column("at", Float, nullable=False),
    sqlite_with_rowid=False,
)

# --- history

commits = Table(
    "commits", metadata,
    _repo_id(primary_key=True),
    Column("oid", Key, primary_key=True),
    Column("tree", Key, nullable=False),
    Column("first_parent", Key),
    Column("parents", Key, nullable=False),  # oids with a space between
    Column("depth", Integer, nullable=False),  # commits in the first-parent history, this one counted
    Column("author", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# Per repo, although an oid says all of the content: what a repo no longer reaches can then be removed without
# asking, or racing, any other repo. A shared directory costs a second row; file bytes stay shared.
trees = Table(
    "trees", metadata,
    Column("oid", Key, primary_key=True),
    _repo_id(primary_key=True, index=True),
    Column("body", LargeBinary, nullable=False),  # records/_body.py
)

refs = Table(
    "refs", metadata,
    _repo_id(primary_key=True),
    Column("name", Key, primary_key=True),
    Column("commit", Key, nullable=False),
    Column("message", Text),
)

# --- bytes

blobs = Table(
    "blobs", metadata,
    Column("digest", Key, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Float, nullable=False, index=True),  # of the newest grant: the sweep's grace runs from it
    Column("kept", Boolean, nullable=False),
)

leases = Table(
    "leases", metadata,
    Column("digest", Key, ForeignKey("blobs.digest", ondelete="CASCADE"), primary_key=True),
    _repo_id(primary_key=True, index=True),
    Column("expires_at", Float, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# No cascade from blobs: the database itself refuses to forget a digest that a repo names.
repo_blobs = Table(
    "repo_blobs", metadata,
    _repo_id(primary_key=True),
    Column("digest", Key, ForeignKey("blobs.digest"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

# Which bytes are kept as the difference to others (hub/descent.py). state: making, ready, leaving, or plain: it was
# tried and saved too little. The base stays while somebody needs it: the database itself refuses to forget it.
deltas = Table(
    "deltas", metadata,
    Column("digest", Key, ForeignKey("blobs.digest", ondelete="CASCADE"), primary_key=True),
    Column("base", Key, ForeignKey("blobs.digest"), index=True),
    Column("packed", Key),
    Column("size", BigInteger, nullable=False),
    Column("state", Key, nullable=False),
    Column("at", Float, nullable=False),
)

findings = Table(
    "findings", metadata,
    Column("digest", Key, ForeignKey("blobs.digest", ondelete="CASCADE"), primary_key=True),
    Column("path", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# --- where models come from (records/lineage.py)

# One row for each set of model files, however many repos and revisions hold it. trace/index.py goes by these ids.
fingerprints = Table(
    "fingerprints", metadata,
    _serial(),
    Column("files", Key, nullable=False, unique=True),  # sha256 over the files' paths and digests
    Column("version", Integer, nullable=False),
    Column("problem", Text),  # why it could not be read; then there is no print
    Column("about", JSON, nullable=False),
    Column("at", Float, nullable=False),
    sqlite_autoincrement=True,
)

# Apart, because they are large: a row with one costs SQLite all of it to reach what stands behind.
prints = Table(
    "prints", metadata,
    Column("fingerprint_id", Id, ForeignKey("fingerprints.id", ondelete="CASCADE"), primary_key=True,
           autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

traced = Table(
    "traced", metadata,
    _repo_id(primary_key=True),
    Column("revision", Key, primary_key=True),
    Column("fingerprint_id", Id, ForeignKey("fingerprints.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", Float, nullable=False),
)

# a is the later of the two: a_id > b_id. "a" and "b" of the judgement are these.
edges = Table(
    "edges", metadata,
    Column("a_id", Id, ForeignKey("fingerprints.id", ondelete="CASCADE"), primary_key=True),
    Column("b_id", Id, ForeignKey("fingerprints.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("kin", Boolean, nullable=False),
    Column("verdict", Key, nullable=False),
    Column("direction", Key, nullable=False),
    Column("agreement", Float),
    Column("version", Integer, nullable=False),
    Column("judgement", JSON, nullable=False),
    Column("at", Float, nullable=False),
)

# What the whole files of two show; a_id >= b_id.
wholes = Table(
    "wholes", metadata,
    Column("a_id", Id, ForeignKey("fingerprints.id", ondelete="CASCADE"), primary_key=True),
    Column("b_id", Id, ForeignKey("fingerprints.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("version", Integer, nullable=False),
    Column("report", JSON, nullable=False),
    Column("at", Float, nullable=False),
)

# Of what others a model was tried to be a sum, with what shares, by the ids of their fingerprints.
mixtures = Table(
    "mixtures", metadata,
    Column("child_id", Id, ForeignKey("fingerprints.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("found", JSON, nullable=False),
    Column("at", Float, nullable=False),
)

disputes = Table(
    "disputes", metadata,
    _serial(),
    _repo_id(index=True),
    Column("other_id", Id, ForeignKey("repos.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("by", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Float, nullable=False),
    sqlite_autoincrement=True,
)

# What was asked of a closed model to hold it beside one of ours; the id is made of who was asked, and which revision.
behaviours = Table(
    "behaviours", metadata,
    Column("id", Key, primary_key=True),
    _repo_id(index=True),
    Column("revision", Key, nullable=False),
    Column("url", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("controls", JSON, nullable=False),  # [[repo_id, revision], ...]
    Column("prompts", Integer, nullable=False),
    Column("found", JSON(none_as_null=True)),  # None while answers are missing
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# The beginnings of a model's answers to the list of prompts, as far as they are in. Forgotten after a while.
answers = Table(
    "answers", metadata,
    Column("asked", Key, primary_key=True),  # sha256 of who was asked, and how
    Column("answers", JSON, nullable=False),
    Column("at", Float, nullable=False, index=True),
)

# --- what happened, and what is to be done

events = Table(
    "events", metadata,
    _serial(),
    Column("name", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("at", Float, nullable=False),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit", metadata,
    _serial(),
    Column("at", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("token", Text),
    Column("action", Text, nullable=False),
    Column("subject", Key, nullable=False),
    Column("detail", JSON, nullable=False),
    Index("ix_audit_subject_id", "subject", "id"),
    sqlite_autoincrement=True,
)

# Used by jobs/, which is handed the database and this table by app.py.
jobs = Table(
    "jobs", metadata,
    Column("id", Key, primary_key=True),
    Column("kind", Key, nullable=False),
    Column("title", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", Key, nullable=False),
    Column("stage", Text, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("unit", Text, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("error", Text),
    Column("actor", Text, nullable=False),
    Column("key", Key),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("heartbeat_at", Float),
    Column("cancel_requested", Boolean, nullable=False),
    Column("owner", Text),
    # The place in the line of those that wait; a job that is held waits on and is not taken.
    Column("place", BigInteger, nullable=False, server_default=text("0")),
    Column("held", Boolean, nullable=False, server_default=false()),
    Index("ix_jobs_state_created_at", "state", "created_at"),
    # Of the jobs with one key, at most one is queued or running.
    Index("uq_jobs_live_key", "key", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
)

# Kinds of work nobody takes up now.
pauses = Table(
    "pauses", metadata,
    Column("kind", Key, primary_key=True),
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# --- what models are asked

# who is "account:ID" or "token:ID"; ids are never given twice, so a row that outlives them means nobody else.
usage = Table(
    "usage", metadata,
    Column("who", Key, primary_key=True),
    Column("day", Integer, primary_key=True),  # days since 1970, UTC
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

responses = Table(
    "responses", metadata,
    Column("id", Key, primary_key=True),
    _account_id(),
    Column("created_at", Float, nullable=False, index=True),
    Column("heartbeat_at", Float),  # while one in the background is under way
    Column("cancel_requested", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # records/responses.py
    Index("ix_responses_account_id_created_at", "account_id", "created_at"),
)

# --- what people say to models, and hand to them

conversations = Table(
    "conversations", metadata,
    Column("id", Key, primary_key=True),
    _account_id(),
    Column("title", Text, nullable=False),
    Column("folder", Key, nullable=False),
    Column("system", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("leaf", Key),
    Column("share_key", Key, unique=True),
    Column("found_by", Text, nullable=False),  # the title, folded so that case does not matter
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Index("ix_conversations_account_id_updated_at_id", "account_id", "updated_at", "id"),
)

# parent_id is no foreign key: the verbs hold the conversation's row while they look, and a dump may come in any order.
messages = Table(
    "messages", metadata,
    Column("conversation_id", Key, ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Key, primary_key=True),
    Column("place", Integer, nullable=False),  # in the order they came
    Column("parent_id", Key),
    Column("role", Key, nullable=False),
    Column("content", JSON, nullable=False),
    Column("reasoning", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("made", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("found_by", Text, nullable=False),  # its text, folded
)

presets = Table(
    "presets", metadata,
    Column("id", Key, primary_key=True),
    _account_id(),
    Column("name", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("account_id", "name"),
)

# No cascade from blobs: the database itself refuses to forget bytes a file names. ready: the bytes have come.
files = Table(
    "files", metadata,
    Column("id", Key, primary_key=True),
    _account_id(),
    Column("name", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("digest", Key, ForeignKey("blobs.digest"), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("text", Text),
    Column("created_at", Float, nullable=False),
    Index("ix_files_account_id_created_at_id", "account_id", "created_at", "id"),
)

films = Table(
    "films", metadata,
    Column("id", Key, primary_key=True),
    _account_id(),
    Column("job_id", Key),
    Column("state", Key, nullable=False),
    Column("asked", JSON, nullable=False),
    Column("photo", Key),
    Column("video", Key),
    Column("poster", Key),
    Column("sheet", Key),
    Column("receipt", JSON),
    Column("error", Text),
    Column("mark", LargeBinary),
    Column("remixed_from", Key),
    Column("external_id", Key),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    # edition: counts the changes of an order that waits; wish: "finish" once its maker is asked to keep what there is.
    Column("edition", Integer, nullable=False, server_default=text("0")),
    Column("wish", Key),
    Column("noted", JSON),
    Index("ix_films_account_id_created_at_id", "account_id", "created_at", "id"),
)

# Of two films, seen side by side without their names. A vote outlives the films: made_a and made_b say what they were.
film_votes = Table(
    "film_votes", metadata,
    _account_id(primary_key=True),
    Column("a", Key, primary_key=True),
    Column("b", Key, primary_key=True),
    Column("seed", BigInteger, nullable=False),
    Column("said", Key, nullable=False),
    Column("made_a", JSON, nullable=False),
    Column("made_b", JSON, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_film_votes_at", "at"),
)
