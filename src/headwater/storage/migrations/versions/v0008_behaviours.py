"""How closed models answer beside ours.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "behaviours",
        sa.Column("id", KEY, nullable=False),
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("controls", sa.JSON(), nullable=False),
        sa.Column("prompts", sa.Integer(), nullable=False),
        sa.Column("found", sa.JSON()),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name="fk_behaviours_repo_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_behaviours"),
    )
    op.create_index("ix_behaviours_repo_id", "behaviours", ["repo_id"], unique=False)
    op.create_table(
        "answers",
        sa.Column("asked", KEY, nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("asked", name="pk_answers"),
    )
    op.create_index("ix_answers_at", "answers", ["at"], unique=False)
