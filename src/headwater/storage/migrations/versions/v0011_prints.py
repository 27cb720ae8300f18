"""Fingerprints' bodies in a table of their own: SQLite walks through a body to reach what stands behind it in a row.

Revision ID: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "prints",
        sa.Column("fingerprint_id", ID, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["fingerprint_id"], ["fingerprints.id"], name="fk_prints_fingerprint_id",
                                ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("fingerprint_id", name="pk_prints"),
    )
    op.execute("INSERT INTO prints (fingerprint_id, body) SELECT id, body FROM fingerprints WHERE body IS NOT NULL")
    op.drop_column("fingerprints", "body")
