"""Which of two films people liked better, and what an engine noted of a film it has under way.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("films", sa.Column("noted", sa.JSON()))
    op.create_table(
        "film_votes",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("a", KEY, nullable=False),
        sa.Column("b", KEY, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("said", KEY, nullable=False),
        sa.Column("made_a", sa.JSON(), nullable=False),
        sa.Column("made_b", sa.JSON(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_film_votes_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "a", "b", name="pk_film_votes"),
    )
    op.create_index("ix_film_votes_at", "film_votes", ["at"], unique=False)
