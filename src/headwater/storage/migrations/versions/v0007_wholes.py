"""What whole files show of two models, and which models are sums of others.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "wholes",
        sa.Column("a_id", ID, nullable=False),
        sa.Column("b_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["a_id"], ["fingerprints.id"], name="fk_wholes_a_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["b_id"], ["fingerprints.id"], name="fk_wholes_b_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("a_id", "b_id", name="pk_wholes"),
    )
    op.create_index("ix_wholes_b_id", "wholes", ["b_id"], unique=False)
    op.create_table(
        "mixtures",
        sa.Column("child_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["child_id"], ["fingerprints.id"], name="fk_mixtures_child_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("child_id", name="pk_mixtures"),
    )
