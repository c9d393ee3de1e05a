"""What runs that are gone for good have spent: forgetting it would understate what a data set has given away."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "spent",
        sa.Column("run_id", sa.String(32), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False, index=True),
        sa.Column("randomness", sa.String(16), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
