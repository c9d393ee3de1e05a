"""The store: every run, point and event, in SQLite or PostgreSQL. All SQL of PrivLab is here and in ``migrations/``.

Who may change what: a person (through :mod:`privlab.runs.control`) creates runs, asks for pause and stop, deletes. The
dispatcher moves queued runs to starting and reports dead workers. A worker writes points and the end of its own
attempt. Each change of status names the states it may come from, so of two writers that disagree one is refused.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from privlab import paths
from privlab.config import RunConfig
from privlab.metrics import Point
from privlab.privacy import PrivacyPlan
from privlab.runs.migrations import NewerSchema, upgrade
from privlab.runs.migrations.tables import events as _events
from privlab.runs.migrations.tables import points as _points
from privlab.runs.migrations.tables import runs as _runs
from privlab.runs.migrations.tables import settings as _settings
from privlab.runs.place import place_id
from privlab.runs.record import MOVES, Reason, Run, RunEvent, Status

#: A writer waits this long for another one before the store counts as busy, seconds.
BUSY_SECONDS = 15
#: Runs whose points :meth:`Store.columns` keeps in memory, about 0.4 MB each.
_COLUMNS_KEPT = 64
_PG_MIGRATION_LOCK = 0x70_72_69_76


class StoreError(RuntimeError):
    """The store cannot do what was asked; the message says why and what to do, in plain words."""


class StoreFull(StoreError):
    """No room left on the disk."""


class UnknownRun(StoreError):
    """There is no run of that id."""

    def __init__(self, run_id: str):
        self.run_id = run_id
        super().__init__(
            f"There is no run {run_id!r} here. It may have been deleted, or it belongs to another PrivLab folder."
        )


class StatusConflict(StoreError):
    """The run is not in a state from which the change is allowed (perhaps since a moment ago)."""

    def __init__(self, run: Run, message: str):
        self.run = run
        super().__init__(message)


class LostRun(StoreError):
    """The run was handed to another worker, or ended by someone else: this worker may write no more."""


def new_id() -> str:
    """A fresh run id: ten hexadecimal digits."""
    return secrets.token_hex(5)


class Store:
    """All runs of one database. Safe to share between threads; after a fork, open a new one.

    Args:
        url: SQLAlchemy URL (``sqlite:///…`` or ``postgresql+psycopg://…``). Default: ``$PRIVLAB_STORE``, else the file
            ``runs.sqlite`` in ``PRIVLAB_HOME``.

    Raises:
        StoreError: if the store cannot be opened, is damaged, or was written by a newer PrivLab.
    """

    def __init__(self, url: str | None = None):
        url = url or os.environ.get("PRIVLAB_STORE") or f"sqlite:///{paths.home() / 'runs.sqlite'}"
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise StoreError(
                f"PRIVLAB_STORE={url!r} is not a database URL, such as sqlite:////folder/runs.sqlite."
            ) from None
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise StoreError(f"The store cannot be a {parsed.get_backend_name()} database; use SQLite or PostgreSQL.")
        #: URL with the password, for a process that must open the same store.
        self.url = parsed.render_as_string(hide_password=False)
        self._shown = parsed.render_as_string(hide_password=True)
        self.path = Path(parsed.database) if parsed.get_backend_name() == "sqlite" else None
        self._watch: sa.Connection | None = None
        self._watch_lock = threading.Lock()
        self._columns: dict[str, dict[str, np.ndarray]] = {}
        self._columns_lock = threading.Lock()
        with self._plainly():
            self._engine = sa.create_engine(parsed, **self._options())
            if self.path:
                sa.event.listen(self._engine, "connect", _prepare_sqlite)
                sa.event.listen(self._engine, "begin", _begin_sqlite)
                self._writer = self._engine.execution_options(privlab_begin="BEGIN IMMEDIATE")
            else:
                self._writer = self._engine
            self._migrate()

    # Opening ----------------------------------------------------------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"pool_size": 8, "max_overflow": 32}
        if self.path:
            options["connect_args"] = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        else:
            options["pool_pre_ping"] = True
        return options

    def _migrate(self) -> None:
        try:
            with self._opening_alone(), self._writer.begin() as connection:
                if not self.path:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PG_MIGRATION_LOCK)))
                upgrade(connection)
        except NewerSchema as newer:
            raise StoreError(
                f"The store {self._shown} was written by a newer PrivLab (its schema is {newer}). "
                "Update PrivLab, or set PRIVLAB_HOME to another folder."
            ) from None

    @contextmanager
    def _opening_alone(self) -> Iterator[None]:
        """Hold off other processes while a SQLite file is made: turning WAL on does not wait for a lock by itself."""
        if not self.path:
            yield
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(f"{self.path}.lock", "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with self._engine.connect() as connection:
                    connection.connection.driver_connection.execute("PRAGMA journal_mode=WAL")
                yield
        except OSError as error:
            raise StoreError(f"The store {self.path} cannot be opened: {error.strerror}.") from error

    def close(self) -> None:
        """Close every connection. The store can still be used; it connects again."""
        with self._watch_lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        self._engine.dispose()

    # Errors -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Translate database errors into sentences."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._translated(error.orig) from error
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except sa.exc.TimeoutError as error:
            raise StoreError(f"The store {self._shown} is busy: no connection became free.") from error
        except ModuleNotFoundError as error:
            raise StoreError(
                f"A PostgreSQL store needs the package {error.name}: pip install 'psycopg[binary]'."
            ) from None

    def _translated(self, error: BaseException) -> StoreError:
        said = str(error).strip() or type(error).__name__
        if not self.path:
            full = getattr(error, "sqlstate", None) == "53100"
            return (StoreFull if full else StoreError)(f"The database {self._shown} answered: {said}")
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreError(
                f"The store {self.path} is damaged ({said}). Move that file away, together with "
                f"{self.path.name}-wal and {self.path.name}-shm if they exist, and start again: PrivLab then makes a new, "
                f"empty store. Checkpoints and weights in {paths.runs_dir()} are separate files and are not affected."
            )
        if code == sqlite3.SQLITE_FULL:
            return StoreFull(
                f"The disk that holds {self.path} is full. Free some space and try again; nothing stored is lost."
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(
                f"The store {self.path} was held by another process for more than {BUSY_SECONDS} s. Try again."
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return StoreError(
                f"The store {self.path} cannot be written ({said}). Check the folder's owner and permissions."
            )
        return StoreError(f"The store {self.path} failed: {said}.")

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._plainly(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._plainly(), self._writer.begin() as connection:
            yield connection

    def _insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT, which the two databases spell alike and SQLAlchemy twice."""
        return (sqlite if self.path else postgresql).insert(table)

    # Runs -------------------------------------------------------------------------------------------------------------

    def create(
        self,
        config: RunConfig,
        plan: PrivacyPlan,
        *,
        launch_key: str | None = None,
        group: str | None = None,
        status: Status = Status.QUEUED,
        run_id: str | None = None,
    ) -> Run:
        """Store a new run. Called again with the same ``launch_key``, it returns the run of the first call.

        ``status`` is queued for the dispatcher, or starting for a caller that trains in its own process. ``run_id`` is one
        of :func:`new_id`, for a caller that must know it beforehand.
        """
        run_id = run_id or new_id()
        row = {
            "id": run_id,
            "launch_key": launch_key,
            "name": config.name,
            "status": status.value,
            "dataset": config.data.dataset,
            "model": config.model.name,
            "config": config.to_json(),
            "plan": orjson.dumps(plan.to_dict()).decode(),
            "created": time.time(),
            "step": 0,
            "steps": plan.steps,
            "metrics": "{}",
            "seconds": 0.0,
            "group": group,
            "place": place_id(),
            "attempt": 1 if status is Status.STARTING else 0,
            "foreground": status is Status.STARTING,
            "heartbeat": time.time() if status is Status.STARTING else None,
        }
        with self._write() as connection:
            query = self._insert(_runs).values(row).on_conflict_do_nothing(index_elements=["launch_key"])
            if connection.execute(query.returning(_runs.c.id)).one_or_none():
                _say(connection, run_id, "created", "Run created.")
            else:
                query = sa.select(_runs.c.id).where(_runs.c.launch_key == launch_key)
                run_id = connection.execute(query).scalar_one()
        return self.get(run_id)

    def get(self, run_id: str) -> Run:
        """The run, deleted or not. Raises UnknownRun."""
        with self._read() as connection:
            return self._get(connection, run_id)

    def _get(self, connection: sa.Connection, run_id: str) -> Run:
        row = connection.execute(sa.select(_runs).where(_runs.c.id == run_id)).one_or_none()
        if row is None:
            raise UnknownRun(run_id)
        return _run(row)

    def list(
        self,
        *,
        status: Iterable[Status] | None = None,
        dataset: str | None = None,
        model: str | None = None,
        group: str | None = None,
        place: str | None = None,
        text: str | None = None,
        deleted: bool | None = False,
        limit: int | None = None,
    ) -> list[Run]:
        """Runs, newest first. ``text`` is looked for in name, id, data set and model; ``deleted=None`` takes both kinds."""
        query = sa.select(_runs).order_by(_runs.c.created.desc(), _runs.c.id.desc())
        if status is not None:
            query = query.where(_runs.c.status.in_([Status(s).value for s in status]))
        for name, value in (("dataset", dataset), ("model", model), ("group", group), ("place", place)):
            if value is not None:
                query = query.where(_runs.c[name] == value)
        if text:
            columns = (_runs.c.name, _runs.c.id, _runs.c.dataset, _runs.c.model)
            query = query.where(sa.or_(*(column.icontains(text, autoescape=True) for column in columns)))
        if deleted is not None:
            query = query.where(_runs.c.deleted.is_not(None) if deleted else _runs.c.deleted.is_(None))
        with self._read() as connection:
            return [_run(row) for row in connection.execute(query.limit(limit))]

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
        values: dict[str, Any] = {"status": to.value, **_on_entering(to, now), **_columns(changes)}
        query = sa.update(_runs).where(_runs.c.id == run_id, _runs.c.status.in_([source.value for source in sources]))
        if attempt is not None:
            query = query.where(_runs.c.attempt == attempt)
        if requested is not None:
            query = query.where(_runs.c.requested == requested)
        with self._write() as connection:
            changed = connection.execute(query.values(values)).rowcount
            run = self._get(connection, run_id)
            if not changed:
                raise StatusConflict(run, f"Run {run_id} is {run.status} and cannot become {to}.")
            _say(connection, run_id, kind or to.value, say or f"Run {to.value}.", now)
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
        query = sa.update(_runs).where(_runs.c.id == run_id, _runs.c.status.in_(active))
        if action == "pause":
            query = query.where(_runs.c.requested.is_distinct_from("stop"))
        with self._write() as connection:
            values = {"requested": action, "reason": reason.value if action == "pause" else None}
            changed = connection.execute(query.values(values)).rowcount
            run = self._get(connection, run_id)
            if changed:
                _say(connection, run_id, "requested", f"Asked to {action}." if action else "Request taken back.")
        if not changed and not (action == "pause" and run.requested == "stop" and run.status.is_active):
            raise StatusConflict(run, f"Run {run_id} is {run.status}: no worker can be asked to {action or 'go on'}.")
        return run

    def beat(self, run_id: str, attempt: int) -> str | None:
        """A worker's sign of life. Returns what is requested. Raises LostRun."""
        query = (
            sa.update(_runs)
            .where(_runs.c.id == run_id, _runs.c.attempt == attempt, _runs.c.status == Status.RUNNING.value)
            .values(heartbeat=time.time())
            .returning(_runs.c.requested)
        )
        with self._write() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise LostRun(f"Run {run_id} no longer belongs to attempt {attempt}.")
        return row.requested

    def set_resumed_from(self, run_id: str, step: int | None, attempt: int) -> None:
        """Record at which step this attempt began; None is the beginning. Raises LostRun."""
        query = sa.update(_runs).where(_runs.c.id == run_id, _runs.c.attempt == attempt)
        with self._write() as connection:
            if not connection.execute(query.values(resumed_from=step)).rowcount:
                raise LostRun(f"Run {run_id} no longer belongs to attempt {attempt}.")

    def rename(self, run_id: str, name: str) -> Run:
        """Give a run another name. Raises UnknownRun."""
        with self._write() as connection:
            run = self._get(connection, run_id)
            renamed = {"name": name, "config": run.config.replace(name=name).to_json()}
            connection.execute(sa.update(_runs).where(_runs.c.id == run_id).values(renamed))
        return self.get(run_id)

    def delete(self, run_id: str) -> Run:
        """Hide a run. Its points and files stay until :meth:`purge`. Raises UnknownRun."""
        return self._set_deleted(run_id, time.time(), "deleted", "Run deleted.")

    def undelete(self, run_id: str) -> Run:
        """Bring a deleted run back. Raises UnknownRun, also when it was purged."""
        return self._set_deleted(run_id, None, "undeleted", "Run brought back.")

    def _set_deleted(self, run_id: str, value: float | None, kind: str, message: str) -> Run:
        with self._write() as connection:
            query = sa.update(_runs).where(_runs.c.id == run_id, _runs.c.deleted.is_(None) != (value is None))
            if connection.execute(query.values(deleted=value)).rowcount:
                _say(connection, run_id, kind, message)
            return self._get(connection, run_id)

    def purge(self, older_than: float) -> list[str]:
        """Remove for good what this folder's runs deleted more than ``older_than`` seconds ago hold; returns their ids.

        Files go first: if that is interrupted, the rows are still there to purge again.
        """
        over = [s.value for s in Status if not s.is_active]
        query = sa.select(_runs.c.id).where(_runs.c.deleted <= time.time() - older_than, _runs.c.status.in_(over))
        with self._read() as connection:
            found = list(connection.execute(query.where(_runs.c.place == place_id())).scalars())
        for run_id in found:
            shutil.rmtree(paths.runs_dir() / run_id, ignore_errors=True)
            (paths.log_dir() / f"{run_id}.log").unlink(missing_ok=True)
        with self._write() as connection:
            connection.execute(sa.delete(_points).where(_points.c.run_id.in_(found)))
            connection.execute(sa.delete(_events).where(_events.c.run_id.in_(found)))
            connection.execute(sa.delete(_runs).where(_runs.c.id.in_(found)))
        return found

    # Points -----------------------------------------------------------------------------------------------------------

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
        query = sa.update(_runs).where(_runs.c.id == run_id, _runs.c.step < point.step)
        if attempt is not None:
            query = query.where(_runs.c.attempt == attempt, _runs.c.status == Status.RUNNING.value)
        with self._write() as connection:
            if connection.execute(query.values(shared | {"heartbeat": time.time()})).rowcount:
                connection.execute(sa.insert(_points).values(run_id=run_id, epoch=point.epoch, **shared))
                return
            run = self._get(connection, run_id)
            if attempt is not None and (run.attempt != attempt or run.status is not Status.RUNNING):
                raise LostRun(f"Run {run_id} no longer belongs to attempt {attempt}: step {point.step} was not stored.")
            same = sa.select(_points.c.step).where(_points.c.run_id == run_id, _points.c.step == point.step)
            if connection.execute(same).one_or_none() is None:
                raise ValueError(
                    f"step={point.step} lies before step {run.step}, which run {run_id} has already published."
                )

    def points(self, run_id: str, after: int = 0) -> list[Point]:
        """Points with ``step > after``, in order. Raises UnknownRun."""
        return [
            Point(step, epoch, seconds, epsilon, _metrics(metrics))
            for step, epoch, seconds, epsilon, metrics in self._point_rows(run_id, after)
        ]

    def columns(self, run_id: str, after: int = 0) -> dict[str, np.ndarray]:
        """Points with ``step > after`` as one array per column, all of one length, in order of step.

        ``step`` is int64; ``epoch``, ``seconds``, ``epsilon`` and each metric are float64, NaN where there is no value.

        The arrays are read-only views of a copy kept in memory, to which only new points are added. Raises UnknownRun.
        """
        with self._columns_lock:
            known = self._columns.pop(run_id, None)
            last = int(known["step"][-1]) if known and known["step"].size else 0
            fresh = _as_columns(self._point_rows(run_id, last))
            known = _joined(known, fresh) if known else fresh
            self._columns[run_id] = known
            while len(self._columns) > _COLUMNS_KEPT:
                self._columns.pop(next(iter(self._columns)))
        first = int(np.searchsorted(known["step"], after, side="right"))
        return {key: values[first:] for key, values in known.items()}

    def _point_rows(self, run_id: str, after: int) -> list[Any]:
        columns = (_points.c.step, _points.c.epoch, _points.c.seconds, _points.c.epsilon, _points.c.metrics)
        query = sa.select(*columns).where(_points.c.run_id == run_id, _points.c.step > after).order_by(_points.c.step)
        with self._read() as connection:
            rows = connection.execute(query).all()
            if not rows:
                self._get(connection, run_id)
        return rows

    # Events -----------------------------------------------------------------------------------------------------------

    def add_event(
        self, run_id: str, kind: str, message: str, data: dict[str, Any] | None = None, *, replace: bool = False
    ) -> None:
        """Record that something happened; ``replace`` drops the run's earlier events of that kind. Raises UnknownRun."""
        with self._write() as connection:
            self._get(connection, run_id)
            if replace:
                connection.execute(sa.delete(_events).where(_events.c.run_id == run_id, _events.c.kind == kind))
            _say(connection, run_id, kind, message, data=data)

    def events(self, run_id: str, after: int = 0) -> list[RunEvent]:
        """Events with ``id > after``, oldest first. Raises UnknownRun."""
        query = sa.select(_events).where(_events.c.run_id == run_id, _events.c.id > after).order_by(_events.c.id)
        with self._read() as connection:
            rows = connection.execute(query).all()
            if not rows:
                self._get(connection, run_id)
        return [RunEvent(r.id, r.run_id, r.time, r.kind, r.message, orjson.loads(r.data)) for r in rows]

    # The lab ----------------------------------------------------------------------------------------------------------

    def setting(self, key: str, default: Any = None) -> Any:
        """A choice for the whole lab, for example ``max_concurrent``."""
        with self._read() as connection:
            text = connection.execute(sa.select(_settings.c.value).where(_settings.c.key == key)).scalar()
        return default if text is None else orjson.loads(text)

    def set_setting(self, key: str, value: Any) -> None:
        text = orjson.dumps(value).decode()
        query = self._insert(_settings).values(key=key, value=text)
        with self._write() as connection:
            connection.execute(query.on_conflict_do_update(index_elements=["key"], set_={"value": text}))

    def version(self) -> str:
        """A token that differs after every change by anyone, for cheap polling. Compare it only within this Store object."""
        with self._plainly(), self._watch_lock:
            if self._watch is None:
                self._watch = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if self.path:
                # This connection never writes, so SQLite reports each commit of any other one, our own included.
                return str(self._watch.connection.driver_connection.execute("PRAGMA data_version").fetchone()[0])
            try:
                # Which transactions are visible, as text: equal means that nothing was committed in between.
                return str(self._watch.exec_driver_sql("SELECT pg_current_snapshot()").scalar())
            except sa.exc.DBAPIError:
                self._watch.close()
                self._watch = None
                raise


def _as_columns(rows: list[Any]) -> dict[str, np.ndarray]:
    steps, epochs, seconds, epsilons, texts = zip(*rows, strict=True) if rows else ((),) * 5
    found = {
        "step": np.array(steps, dtype=np.int64),
        "epoch": np.array(epochs, dtype=np.float64),
        "seconds": np.array(seconds, dtype=np.float64),
        "epsilon": np.array(epsilons, dtype=np.float64),
    }
    # One parse for all rows: 2,000 separate ones cost more than the query.
    metrics = orjson.loads(f"[{','.join(texts)}]")
    for key in dict.fromkeys(key for item in metrics for key in item):
        found[key] = np.array([item.get(key) for item in metrics], dtype=np.float64)
    return _read_only(found)


def _joined(earlier: dict[str, np.ndarray], later: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both, one after the other; a metric that one of them lacks is NaN there."""
    if not later["step"].size:
        return earlier
    parts = {
        key: [part.get(key, np.full(part["step"].size, np.nan)) for part in (earlier, later)] for key in earlier | later
    }
    return _read_only({key: np.concatenate(both) for key, both in parts.items()})


def _read_only(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for values in columns.values():
        values.flags.writeable = False
    return columns


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy's own BEGIN is used instead of the driver's, which opens transactions late and unprotected.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock at once: upgrading a read transaction fails without waiting when another one wrote.
    connection.exec_driver_sql(connection.get_execution_options().get("privlab_begin", "BEGIN"))


def _on_entering(status: Status, now: float) -> dict[str, Any]:
    """Columns that follow from the new status alone."""
    gone = {"pid": None, "process_started": None, "requested": None}
    fresh = gone | {"ended": None, "error": None, "reason": None, "foreground": False}
    if status is Status.QUEUED:
        return fresh
    if status is Status.STARTING:
        return fresh | {"attempt": _runs.c.attempt + 1, "heartbeat": now}
    if status is Status.RUNNING:
        return {"started": sa.func.coalesce(_runs.c.started, now), "heartbeat": now}
    if status is Status.PAUSED:
        return gone
    return gone | {"ended": now, "reason": None}


def _columns(changes: dict[str, Any]) -> dict[str, Any]:
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


def _say(
    connection: sa.Connection,
    run_id: str,
    kind: str,
    message: str,
    now: float | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    text = orjson.dumps(data or {}, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()
    row = {"run_id": run_id, "time": now or time.time(), "kind": kind, "message": message, "data": text}
    connection.execute(sa.insert(_events).values(row))


@lru_cache(maxsize=512)
def _config(text: str) -> RunConfig:
    return RunConfig.from_json(text)


@lru_cache(maxsize=512)
def _plan(text: str) -> PrivacyPlan:
    return PrivacyPlan.from_dict(orjson.loads(text))


def _metrics(text: str) -> dict[str, float]:
    return {key: float("nan") if value is None else value for key, value in orjson.loads(text).items()}


def _run(row: sa.Row) -> Run:
    values = dict(row._mapping)
    for name in ("launch_key", "dataset", "model"):
        del values[name]
    values["status"] = Status(values["status"])
    values["reason"] = Reason(values["reason"]) if values["reason"] else None
    values["config"] = _config(values["config"])
    values["plan"] = _plan(values["plan"])
    values["metrics"] = _metrics(values["metrics"])
    return Run(**values)
