"""The table of points."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa

from privlab.metrics import Point
from privlab.runs.migrations.tables import points, runs
from privlab.runs.record import Status
from privlab.runs.store.columns import ColumnCache
from privlab.runs.store.database import Database
from privlab.runs.store.errors import LostRun
from privlab.runs.store.rows import find_run, to_metrics


class PointTable(Database):
    """What runs measured. A point that is here is published."""

    def __init__(self, url: str | None = None):
        super().__init__(url)
        self._columns = ColumnCache()

    def append(self, run_id: str, point: Point, attempt: int | None = None) -> None:
        """Publish a point, in one transaction with the run's row. Publishing the same step again changes nothing.

        Non-finite metrics come back as NaN: JSON has no infinity.

        Raises:
            UnknownRun
            LostRun: if ``attempt`` is given and the run is not running in that attempt.
            ValueError: the step lies before the last published one and is not there yet: points only ever follow.
        """
        metrics = orjson.dumps(point.metrics, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        shared = {"step": point.step, "seconds": point.seconds, "epsilon": point.epsilon, "metrics": metrics}
        query = sa.update(runs).where(runs.c.id == run_id, runs.c.step < point.step)
        if attempt is not None:
            query = query.where(runs.c.attempt == attempt, runs.c.status == Status.RUNNING.value)
        with self._write() as connection:
            if connection.execute(query.values(shared | {"heartbeat": time.time()})).rowcount:
                connection.execute(sa.insert(points).values(run_id=run_id, epoch=point.epoch, **shared))
                return
            run = find_run(connection, run_id)
            if attempt is not None and (run.attempt != attempt or run.status is not Status.RUNNING):
                raise LostRun(f"Run {run_id} no longer belongs to attempt {attempt}: step {point.step} was not stored.")
            same = sa.select(points.c.step).where(points.c.run_id == run_id, points.c.step == point.step)
            if connection.execute(same).one_or_none() is None:
                raise ValueError(
                    f"step={point.step} lies before step {run.step}, which run {run_id} has already published."
                )

    def append_all(self, run_id: str, found: Sequence[Point]) -> None:
        """Publish the points of a run that has none yet in one transaction: all of them, or none.

        Raises:
            UnknownRun
            ValueError: the run has points, or their steps do not ascend.
        """
        steps = [point.step for point in found]
        if any(later <= earlier for earlier, later in pairwise([0, *steps])):
            raise ValueError(f"The steps of {len(steps)} points do not ascend from 1.")
        if not found:
            return
        rows = [
            {"run_id": run_id, "step": p.step, "epoch": p.epoch, "seconds": p.seconds, "epsilon": p.epsilon}
            | {"metrics": orjson.dumps(p.metrics, option=orjson.OPT_SERIALIZE_NUMPY).decode()}
            for p in found
        ]
        last = {name: rows[-1][name] for name in ("step", "seconds", "epsilon", "metrics")}
        with self._write() as connection:
            if find_run(connection, run_id).step:
                raise ValueError(f"Run {run_id} has points already.")
            connection.execute(sa.insert(points), rows)
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(last))

    def points(self, run_id: str, after: int = 0) -> list[Point]:
        """Points with ``step > after``, in order. Raises UnknownRun."""
        return [
            Point(step, epoch, seconds, epsilon, to_metrics(metrics))
            for step, epoch, seconds, epsilon, metrics in self._point_rows(run_id, after)
        ]

    def columns(self, run_id: str, after: int = 0) -> dict[str, np.ndarray]:
        """Points with ``step > after`` as one array per column, all of one length, in order of step.

        ``step`` is int64; ``epoch``, ``seconds``, ``epsilon`` and each metric are float64, NaN where there is no value.

        The arrays are read-only views of a copy kept in memory, to which only new points are added. Raises UnknownRun.
        """
        return self._columns.after(run_id, after, self._point_rows)

    def _point_rows(self, run_id: str, after: int) -> list[Any]:
        columns = (points.c.step, points.c.epoch, points.c.seconds, points.c.epsilon, points.c.metrics)
        query = sa.select(*columns).where(points.c.run_id == run_id, points.c.step > after).order_by(points.c.step)
        with self._read() as connection:
            rows = connection.execute(query).all()
            if not rows:
                find_run(connection, run_id)
        return rows
