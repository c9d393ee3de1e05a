"""Between the rows of the tables and the values that the rest of PrivLab knows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa

from privlab.config import RunConfig
from privlab.privacy import PrivacyPlan
from privlab.runs.migrations.tables import events, runs
from privlab.runs.record import Reason, Run, Spent, Status
from privlab.runs.store.errors import UnknownRun


def on_entering(status: Status, now: float) -> dict[str, Any]:
    """Columns that follow from the new status alone."""
    gone = {"pid": None, "process_started": None, "requested": None}
    fresh = gone | {"ended": None, "error": None, "reason": None, "foreground": False}
    if status is Status.QUEUED:
        return fresh
    if status is Status.STARTING:
        return fresh | {"attempt": runs.c.attempt + 1, "heartbeat": now}
    if status is Status.RUNNING:
        return {"started": sa.func.coalesce(runs.c.started, now), "heartbeat": now}
    if status is Status.PAUSED:
        return gone
    return gone | {"ended": now, "reason": None}


def to_columns(changes: dict[str, Any]) -> dict[str, Any]:
    """Changes as the columns that hold them."""
    values = dict(changes)
    if "config" in values:
        values["config"] = values["config"].to_json()
    if "plan" in values:
        plan = values["plan"]
        values |= {"plan": orjson.dumps(plan.to_dict()).decode(), "steps": plan.steps}
    if isinstance(values.get("reason"), Reason):
        values["reason"] = values["reason"].value
    return values


def add_event(
    connection: sa.Connection,
    run_id: str,
    kind: str,
    message: str,
    now: float | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Record in the transaction at hand that something happened; ``now`` is a Unix time in seconds."""
    text = orjson.dumps(data or {}, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()
    row = {"run_id": run_id, "time": now or time.time(), "kind": kind, "message": message, "data": text}
    connection.execute(sa.insert(events).values(row))


@lru_cache(maxsize=512)
def _config(text: str) -> RunConfig:
    return RunConfig.from_json(text)


@lru_cache(maxsize=512)
def _plan(text: str) -> PrivacyPlan:
    return PrivacyPlan.from_dict(orjson.loads(text))


def to_metrics(text: str) -> dict[str, float]:
    """Metrics from their JSON; what JSON could not hold (infinity, NaN) comes back as NaN."""
    return {key: float("nan") if value is None else value for key, value in orjson.loads(text).items()}


def find_run(connection: sa.Connection, run_id: str) -> Run:
    """The run, deleted or not. Raises UnknownRun."""
    row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
    if row is None:
        raise UnknownRun(run_id)
    return to_run(row)


def to_run(row: sa.Row) -> Run:
    """A row of the table of runs."""
    values = dict(row._mapping)
    for name in ("launch_key", "dataset", "model"):
        del values[name]
    values["status"] = Status(values["status"])
    values["reason"] = Reason(values["reason"]) if values["reason"] else None
    values["config"] = _config(values["config"])
    values["plan"] = _plan(values["plan"])
    values["metrics"] = to_metrics(values["metrics"])
    return Run(**values)


class RowCache:
    """Runs as read before: a row that has not changed is the same :class:`Run` again, which costs no parsing.

    Safe to share between threads: of two that read at once, one does the other's work again.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[Any, ...], Run]] = {}

    def runs(self, rows: Iterable[sa.Row]) -> list[Run]:
        """The runs of ``rows`` of the whole table, in their order."""
        found = []
        for row in rows:
            values = tuple(row)
            known = self._known.get(row.id)
            if known is None or known[0] != values:
                known = self._known[row.id] = values, to_run(row)
            found.append(known[1])
        return found

    def forget(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            self._known.pop(run_id, None)


def to_spent(row: sa.Row) -> Spent:
    """A row of the table of what purged runs spent."""
    plan = _plan(row.plan)
    return Spent(
        row.run_id,
        row.name,
        row.dataset,
        row.randomness,
        plan,
        row.step,
        row.created,
        "removed",
        row.void,
        row.imported,
    )
