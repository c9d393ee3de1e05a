"""Runs that were trained elsewhere and imported: they must never pass for trained here."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("runs", sa.Column("origin", sa.String(32)))
    op.add_column("spent", sa.Column("imported", sa.Boolean, nullable=False, server_default=sa.false()))
