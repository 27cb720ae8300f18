"""The first schema.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    _who()
    _repos()
    _bytes()
    _happenings()


def _who() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("is_org", sa.Boolean(), nullable=False),
        sa.Column("fullname", sa.Text(), nullable=False),
        sa.Column("email", sa.Text()),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("key", name="uq_accounts_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "memberships",
        sa.Column("org_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["accounts.id"], name="fk_memberships_org_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["accounts.id"], name="fk_memberships_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("org_id", "user_id", name="pk_memberships"),
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", KEY, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("repos", sa.JSON(none_as_null=True)),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float()),
        sa.Column("last_used_at", sa.Float()),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_tokens_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("account_id", "name", name="uq_tokens_account_id_name"),
        sa.UniqueConstraint("secret_hash", name="uq_tokens_secret_hash"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "secrets",
        sa.Column("name", KEY, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )


def _repos() -> None:
    op.create_table(
        "repos",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_key", KEY, nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("head", KEY),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("likes", sa.BigInteger(), nullable=False),
        sa.Column("downloads", sa.BigInteger(), nullable=False),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_repos"),
        sa.UniqueConstraint("kind", "key", name="uq_repos_kind_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_repos_created", "repos", ["kind", "created_at", "id"], unique=False)
    op.create_index("ix_repos_downloads", "repos", ["kind", "downloads", "id"], unique=False)
    op.create_index("ix_repos_likes", "repos", ["kind", "likes", "id"], unique=False)
    op.create_index("ix_repos_owner_key", "repos", ["owner_key"], unique=False)
    op.create_index("ix_repos_size", "repos", ["kind", "size_bytes", "id"], unique=False)
    op.create_index("ix_repos_updated", "repos", ["kind", "updated_at", "id"], unique=False)
    op.create_table(
        "redirects",
        sa.Column("kind", KEY, nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("repo_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_redirects_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_redirects"),
    )
    op.create_index("ix_redirects_repo_id", "redirects", ["repo_id"], unique=False)
    op.create_table(
        "repo_tags",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("tag", KEY, nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_repo_tags_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "tag", name="pk_repo_tags"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_repo_tags_tag", "repo_tags", ["tag"], unique=False)
    op.create_table(
        "likes",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_likes_account_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_likes_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "account_id", name="pk_likes"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_likes_account_id", "likes", ["account_id"], unique=False)
    op.create_table(
        "commits",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("oid", KEY, nullable=False),
        sa.Column("tree", KEY, nullable=False),
        sa.Column("first_parent", KEY),
        sa.Column("parents", KEY, nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_commits_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "oid", name="pk_commits"),
    )
    op.create_table(
        "trees",
        sa.Column("oid", KEY, nullable=False),
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_trees_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("oid", "repo_id", name="pk_trees"),
    )
    op.create_index("ix_trees_repo_id", "trees", ["repo_id"], unique=False)
    op.create_table(
        "refs",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("commit", KEY, nullable=False),
        sa.Column("message", sa.Text()),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_refs_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "name", name="pk_refs"),
    )


def _bytes() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", KEY, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
    )
    op.create_index("ix_blobs_created_at", "blobs", ["created_at"], unique=False)
    op.create_table(
        "leases",
        sa.Column("digest", KEY, nullable=False),
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_leases_digest", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_leases_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", "repo_id", name="pk_leases"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_leases_expires_at", "leases", ["expires_at"], unique=False)
    op.create_index("ix_leases_repo_id", "leases", ["repo_id"], unique=False)
    op.create_table(
        "repo_blobs",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_repo_blobs_digest"),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_repo_blobs_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "digest", name="pk_repo_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_repo_blobs_digest", "repo_blobs", ["digest"], unique=False)
    op.create_table(
        "findings",
        sa.Column("digest", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_findings_digest", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name="pk_findings"),
    )


def _happenings() -> None:
    op.create_table(
        "events",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("token", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_subject_id", "audit", ["subject", "id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger()),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("result", sa.JSON(none_as_null=True)),
        sa.Column("error", sa.Text()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key", KEY),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float()),
        sa.Column("finished_at", sa.Float()),
        sa.Column("heartbeat_at", sa.Float()),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_state_created_at", "jobs", ["state", "created_at"], unique=False)
    live = sa.text("state IN ('queued', 'running')")
    op.create_index("uq_jobs_live_key", "jobs", ["key"], unique=True, sqlite_where=live, postgresql_where=live)
