"""How a run changes while it is worked on: its status, what is asked of its worker, the worker's signs of life."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from privlab.runs.migrations.tables import runs
from privlab.runs.record import MOVES, Reason, Run, Status
from privlab.runs.store.database import Database
from privlab.runs.store.errors import LostRun, StatusConflict
from privlab.runs.store.rows import add_event, find_run, on_entering, to_columns


class RunProgress(Database):
    """Changes of one run's row by those who work on it (who may change what: see :mod:`privlab.runs.store`)."""

    def move(
        self,
        run_id: str,
        to: Status,
        *,
        expect: Iterable[Status] | None = None,
        attempt: int | None = None,
        requested: str | None = None,
        kind: str | None = None,
        say: str | None = None,
        **changes: Any,
    ) -> Run:
        """Change the status in one atomic step (compare and set), with an event.

        Args:
            expect: the states it may come from; default: all that :data:`MOVES` allows.
            attempt: refuse unless this is still the run's attempt.
            requested: refuse unless this request still stands.
            kind, say: the event's kind (default: the new status) and message.
            changes: other columns: ``pid``, ``process_started``, ``reason``, ``error``, ``resumed_from``, ``config``, ``plan``.

        Raises:
            UnknownRun, StatusConflict
        """
        allowed = {source for source, targets in MOVES.items() if to in targets}
        sources = allowed if expect is None else allowed & set(expect)
        now = time.time()
        values: dict[str, Any] = {"status": to.value, **on_entering(to, now), **to_columns(changes)}
        query = sa.update(runs).where(runs.c.id == run_id, runs.c.status.in_([source.value for source in sources]))
        if attempt is not None:
            query = query.where(runs.c.attempt == attempt)
        if requested is not None:
            query = query.where(runs.c.requested == requested)
        with self._write() as connection:
            changed = connection.execute(query.values(values)).rowcount
            run = find_run(connection, run_id)
            if not changed:
                raise StatusConflict(run, f"Run {run_id} is {run.status} and cannot become {to}.")
            add_event(connection, run_id, kind or to.value, say or f"Run {to.value}.", now)
        return run

    def claim(self, run_id: str, *, foreground: bool) -> Run:
        """Take a run for a worker of the caller's, in one step.

        The app takes queued runs; with ``foreground`` also paused, stopped and failed ones, and the app then treats the
        worker as none of its own. Raises UnknownRun, StatusConflict.
        """
        expect = None if foreground else [Status.QUEUED]
        return self.move(run_id, Status.STARTING, expect=expect, foreground=foreground, say="Waiting for its process.")

    def request(self, run_id: str, action: str | None, reason: Reason = Reason.PERSON) -> Run:
        """Ask the worker of an active run to ``pause`` or ``stop`` at its next logical batch; None takes the request back.

        A stop is never weakened to a pause. Raises UnknownRun, and StatusConflict when no worker is at work.
        """
        if action not in ("pause", "stop", None):
            raise ValueError(f"action={action!r} is not one of 'pause', 'stop', None.")
        active = [Status.STARTING.value, Status.RUNNING.value]
        query = sa.update(runs).where(runs.c.id == run_id, runs.c.status.in_(active))
        if action == "pause":
            query = query.where(runs.c.requested.is_distinct_from("stop"))
        with self._write() as connection:
            values = {"requested": action, "reason": reason.value if action == "pause" else None}
            changed = connection.execute(query.values(values)).rowcount
            run = find_run(connection, run_id)
            if changed:
                add_event(connection, run_id, "requested", f"Asked to {action}." if action else "Request taken back.")
        if not changed and not (action == "pause" and run.requested == "stop" and run.status.is_active):
            raise StatusConflict(run, f"Run {run_id} is {run.status}: no worker can be asked to {action or 'go on'}.")
        return run

    def beat(self, run_id: str, attempt: int) -> str | None:
        """A worker's sign of life. Returns what is requested. Raises LostRun."""
        query = (
            sa.update(runs)
            .where(runs.c.id == run_id, runs.c.attempt == attempt, runs.c.status == Status.RUNNING.value)
            .values(heartbeat=time.time())
            .returning(runs.c.requested)
        )
        with self._write() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise LostRun(f"Run {run_id} no longer belongs to attempt {attempt}.")
        return row.requested

    def set_resumed_from(self, run_id: str, step: int | None, attempt: int) -> None:
        """Record at which step this attempt began; None is the beginning. Raises LostRun."""
        query = sa.update(runs).where(runs.c.id == run_id, runs.c.attempt == attempt)
        with self._write() as connection:
            if not connection.execute(query.values(resumed_from=step)).rowcount:
                raise LostRun(f"Run {run_id} no longer belongs to attempt {attempt}.")
