"""Fingerprints of models, what was judged of pairs of them, and what owners answer.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "fingerprints",
        sa.Column("id", ID, nullable=False),
        sa.Column("files", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fingerprints"),
        sa.UniqueConstraint("files", name="uq_fingerprints_files"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "traced",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("fingerprint_id", ID, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_traced_repo_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["fingerprint_id"], ["fingerprints.id"], name="fk_traced_fingerprint_id",
                                ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "revision", name="pk_traced"),
    )
    op.create_index("ix_traced_fingerprint_id", "traced", ["fingerprint_id"], unique=False)
    op.create_table(
        "edges",
        sa.Column("a_id", ID, nullable=False),
        sa.Column("b_id", ID, nullable=False),
        sa.Column("kin", sa.Boolean(), nullable=False),
        sa.Column("verdict", KEY, nullable=False),
        sa.Column("direction", KEY, nullable=False),
        sa.Column("agreement", sa.Float()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("judgement", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["a_id"], ["fingerprints.id"], name="fk_edges_a_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["b_id"], ["fingerprints.id"], name="fk_edges_b_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("a_id", "b_id", name="pk_edges"),
    )
    op.create_index("ix_edges_b_id", "edges", ["b_id"], unique=False)
    op.create_table(
        "disputes",
        sa.Column("id", ID, nullable=False),
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("other_id", ID, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_disputes_repo_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["other_id"], ["repos.id"], name="fk_disputes_other_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_disputes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_disputes_repo_id", "disputes", ["repo_id"], unique=False)
    op.create_index("ix_disputes_other_id", "disputes", ["other_id"], unique=False)
