"""The tables as the present code reads and writes them. A change here needs a migration in ``versions/``."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("launch_key", sa.String(200), unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False, index=True),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False, index=True),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("heartbeat", sa.Float),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("steps", sa.Integer, nullable=False),
    sa.Column("epsilon", sa.Float),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("requested", sa.String(16)),
    sa.Column("reason", sa.String(16)),
    sa.Column("error", sa.Text),
    sa.Column("resumed_from", sa.Integer),
    sa.Column("group", sa.String(64), index=True),
    sa.Column("place", sa.String(64), nullable=False),
    sa.Column("pid", sa.Integer),
    sa.Column("process_started", sa.Float),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("foreground", sa.Boolean, nullable=False),
    sa.Column("deleted", sa.Float),
    sa.Column("origin", sa.String(32)),
)

# WITHOUT ROWID keeps a run's points side by side on disk: reading 2,000 of them is one range scan.
points = sa.Table(
    "points",
    metadata,
    sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("epsilon", sa.Float),
    sa.Column("metrics", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)

#: What a person chose for the whole lab, for example how many runs at once. Values are JSON.
settings = sa.Table(
    "settings",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

#: What purged runs have spent. Rows are only ever added.
spent = sa.Table(
    "spent",
    metadata,
    sa.Column("run_id", sa.String(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("dataset", sa.String(64), nullable=False, index=True),
    sa.Column("randomness", sa.String(16), nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("void", sa.Boolean, nullable=False),
    sa.Column("imported", sa.Boolean, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

#: Many runs of one question. ``spec`` is JSON, as :mod:`privlab.sweeps.spec` reads it.
sweeps = sa.Table(
    "sweeps",
    metadata,
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

trials = sa.Table(
    "trials",
    metadata,
    sa.Column("sweep_id", sa.String(32), sa.ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("values", sa.Text, nullable=False),
    sa.Column("refused", sa.Text),
    sa.Column("created", sa.Float, nullable=False),
)

#: Which run was launched for which seed of a trial. No foreign key to the runs: what a removed run reached still counts.
trial_runs = sa.Table(
    "trial_runs",
    metadata,
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

#: What a person says about a run. ``tags`` is a JSON list.
annotations = sa.Table(
    "annotations",
    metadata,
    sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("pinned", sa.Boolean, nullable=False),
    sa.Column("archived", sa.Boolean, nullable=False),
)

#: Sessions in which many people launch runs under the rules of one teacher. ``key`` is the teacher's, and is told to nobody else.
classes = sa.Table(
    "classes",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(32), nullable=False),
    sa.Column("lesson", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("closed", sa.Float),
)

#: Who joined a session. ``id`` is a participant's own key: whoever has it launches in their name.
participants = sa.Table(
    "participants",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("class_id", sa.String(32), sa.ForeignKey("classes.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("folded", sa.Text, nullable=False),
    sa.Column("joined", sa.Float, nullable=False),
    sa.UniqueConstraint("class_id", "folded"),
)

#: What a participant said before a launch. The run is the one of that launch key; where there is none, the launch failed.
class_launches = sa.Table(
    "class_launches",
    metadata,
    sa.Column("launch_key", sa.String(200), primary_key=True),
    sa.Column(
        "participant_id",
        sa.String(32),
        sa.ForeignKey("participants.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("guess", sa.Float),
    sa.Column("made", sa.Float, nullable=False),
)
