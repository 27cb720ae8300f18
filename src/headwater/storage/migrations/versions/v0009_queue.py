"""Jobs that wait have a place and may be held; kinds of work may be paused; a film's order may be changed.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("place", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false()))
    # What waited keeps its turn: the oldest first, as it was taken until now.
    op.execute("UPDATE jobs SET place = (SELECT count(*) FROM jobs AS before WHERE before.created_at < jobs.created_at"
               " OR (before.created_at = jobs.created_at AND before.id <= jobs.id))")
    op.create_table(
        "pauses",
        sa.Column("kind", KEY, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_pauses"),
    )
    op.add_column("films", sa.Column("edition", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("films", sa.Column("wish", KEY))
