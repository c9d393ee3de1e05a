"""Class sessions: rules of a teacher, who joined, and what they said before each launch."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "classes",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("lesson", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("closed", sa.Float),
    )
    op.create_table(
        "participants",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("class_id", sa.String(32), sa.ForeignKey("classes.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("joined", sa.Float, nullable=False),
        sa.UniqueConstraint("class_id", "folded"),
    )
    op.create_index("ix_participants_class_id", "participants", ["class_id"])
    op.create_table(
        "class_launches",
        sa.Column("launch_key", sa.String(200), primary_key=True),
        sa.Column(
            "participant_id", sa.String(32), sa.ForeignKey("participants.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("guess", sa.Float),
        sa.Column("made", sa.Float, nullable=False),
    )
    op.create_index("ix_class_launches_participant_id", "class_launches", ["participant_id"])
