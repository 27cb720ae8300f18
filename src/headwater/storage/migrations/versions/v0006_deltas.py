"""Which bytes are kept as the difference to others.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "deltas",
        sa.Column("digest", KEY, nullable=False),
        sa.Column("base", KEY),
        sa.Column("packed", KEY),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_deltas_digest", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["base"], ["blobs.digest"], name="fk_deltas_base"),
        sa.PrimaryKeyConstraint("digest", name="pk_deltas"),
    )
    op.create_index("ix_deltas_base", "deltas", ["base"], unique=False)
