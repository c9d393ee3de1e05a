"""Purged runs whose mechanism was found broken: their plan says an ε that does not hold."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("spent", sa.Column("void", sa.Boolean, nullable=False, server_default=sa.false()))
