"""Sweeps: many runs of one question, the combinations that were tried, and which run belongs to which."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("launch_key", sa.String(200), unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("drawn", sa.Integer),
        sa.Column("extended", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("place", sa.String(64), nullable=False),
    )
    op.create_table(
        "trials",
        sa.Column("sweep_id", sa.String(32), sa.ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("values", sa.Text, nullable=False),
        sa.Column("refused", sa.Text),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_table(
        "trial_runs",
        sa.Column("sweep_id", sa.String(32), sa.ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seed", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("pruned", sa.Text),
        sa.Column("status", sa.String(16)),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("epsilon", sa.Float),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )
