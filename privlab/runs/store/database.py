"""The open database: connections, transactions, the schema, and whether anything changed."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from privlab import paths
from privlab.runs.migrations import NewerSchema, upgrade
from privlab.runs.store.errors import BUSY_SECONDS, StoreError, in_words

_PG_MIGRATION_LOCK = 0x70_72_69_76


class Database:
    """One SQLite file or PostgreSQL database; what :class:`privlab.runs.store.Store` says of ``url`` and errors holds here."""

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
        with self._plainly():
            self._engine = sa.create_engine(parsed, **self._options())
            if self.path:
                sa.event.listen(self._engine, "connect", _prepare_sqlite)
                sa.event.listen(self._engine, "begin", _begin_sqlite)
                self._writer = self._engine.execution_options(privlab_begin="BEGIN IMMEDIATE")
            else:
                self._writer = self._engine
            self._migrate()

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

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Translate database errors into sentences."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise in_words(error.orig, self.path, self._shown) from error
        except sqlite3.Error as error:
            raise in_words(error, self.path, self._shown) from error
        except sa.exc.TimeoutError as error:
            raise StoreError(f"The store {self._shown} is busy: no connection became free.") from error
        except ModuleNotFoundError as error:
            raise StoreError(
                f"A PostgreSQL store needs the package {error.name}: pip install 'psycopg[binary]'."
            ) from None

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self._plainly(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        """A transaction: committed at the end, rolled back by an error. On SQLite it holds the writer's lock from the start."""
        with self._plainly(), self._writer.begin() as connection:
            yield connection

    def _insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT, which the two databases spell alike and SQLAlchemy twice."""
        return (sqlite if self.path else postgresql).insert(table)

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


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy's own BEGIN is used instead of the driver's, which opens transactions late and unprotected.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock at once: upgrading a read transaction fails without waiting when another one wrote.
    connection.exec_driver_sql(connection.get_execution_options().get("privlab_begin", "BEGIN"))
