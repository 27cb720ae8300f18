"""Films people asked for.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "films",
        sa.Column("id", KEY, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("job_id", KEY),
        sa.Column("state", KEY, nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("photo", KEY),
        sa.Column("video", KEY),
        sa.Column("poster", KEY),
        sa.Column("sheet", KEY),
        sa.Column("receipt", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("mark", sa.LargeBinary()),
        sa.Column("remixed_from", KEY),
        sa.Column("external_id", KEY),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float()),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_films_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_films"),
    )
    op.create_index("ix_films_account_id_created_at_id", "films", ["account_id", "created_at", "id"], unique=False)
