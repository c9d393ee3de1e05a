"""The table of runs: making, finding, hiding and removing them."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterable, Sequence

import orjson
import sqlalchemy as sa

from privlab import paths
from privlab.config import RunConfig
from privlab.metrics import Point
from privlab.privacy import PrivacyPlan
from privlab.runs.migrations.tables import annotations, events, points, runs, spent
from privlab.runs.place import place_id
from privlab.runs.record import Run, RunEvent, Spent, Status
from privlab.runs.store.database import Database
from privlab.runs.store.errors import StatusConflict
from privlab.runs.store.rows import RowCache, add_event, find_run, to_columns, to_run, to_spent

#: Runs whose mechanism was found not to be their plan.
_VOID = sa.select(events.c.run_id).where(events.c.kind == "void").distinct()


def new_id() -> str:
    """A fresh run id: ten hexadecimal digits."""
    return secrets.token_hex(5)


class RunTable(Database):
    """Runs as a person sees them."""

    def __init__(self, url: str | None = None):
        super().__init__(url)
        self._known = RowCache()

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
            query = self._insert(runs).values(row).on_conflict_do_nothing(index_elements=["launch_key"])
            if connection.execute(query.returning(runs.c.id)).one_or_none():
                add_event(connection, run_id, "created", "Run created.")
            else:
                query = sa.select(runs.c.id).where(runs.c.launch_key == launch_key)
                run_id = connection.execute(query).scalar_one()
        return self.get(run_id)

    def adopt(
        self, run: Run, measured: Sequence[Point], happened: Sequence[RunEvent], *, run_id: str | None = None
    ) -> Run:
        """Store a run that was trained elsewhere, whole or not at all.

        Args:
            run: as it is to be shown, with its ``origin``; id, place and process are this store's to choose.
            measured: its points, ascending by step; the last one is the run's.
            happened: what happened to it, oldest first; ids are given anew.
            run_id: one of :func:`new_id`, for a caller that must know it beforehand.

        Raises:
            ValueError: no origin.
            StatusConflict: a run of this origin is here already, or was trained here.
        """
        if run.origin is None:
            raise ValueError("origin=None: a run without an origin is trained here and not adopted.")
        run_id = run_id or new_id()
        row = {
            name: getattr(run, name) for name in ("name", "created", "ended", "error", "origin", "seconds", "epsilon")
        }
        row |= to_columns({"config": run.config, "plan": run.plan}) | {
            "id": run_id,
            "launch_key": f"import:{run.origin}",
            "status": run.status.value,
            "dataset": run.config.data.dataset,
            "model": run.config.model.name,
            "step": run.step,
            "metrics": orjson.dumps(run.metrics).decode(),
            "place": place_id(),
            "attempt": run.attempt,
            "foreground": False,
        }
        with self._write() as connection:
            trained_here = sa.select(runs).where(sa.or_(runs.c.id == run.origin, runs.c.origin == run.origin))
            if (there := connection.execute(trained_here).first()) is not None:
                known = to_run(there)
                where = "deleted; bring it back" if known.deleted is not None else "not imported again"
                raise StatusConflict(known, f"Run {run.origin} is here already, as {known.id}: {where}.")
            connection.execute(self._insert(runs).values(row))
            for point in measured:
                values = {name: getattr(point, name) for name in ("step", "epoch", "seconds", "epsilon")}
                text = orjson.dumps(point.metrics).decode()
                connection.execute(sa.insert(points).values(run_id=run_id, metrics=text, **values))
            for event in happened:
                add_event(connection, run_id, event.kind, event.message, event.time, event.data)
        return self.get(run_id)

    def get(self, run_id: str) -> Run:
        """The run, deleted or not. Raises UnknownRun."""
        with self._read() as connection:
            return find_run(connection, run_id)

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
        query = sa.select(runs).order_by(runs.c.created.desc(), runs.c.id.desc())
        if status is not None:
            query = query.where(runs.c.status.in_([Status(s).value for s in status]))
        for name, value in (("dataset", dataset), ("model", model), ("group", group), ("place", place)):
            if value is not None:
                query = query.where(runs.c[name] == value)
        if text:
            columns = (runs.c.name, runs.c.id, runs.c.dataset, runs.c.model)
            query = query.where(sa.or_(*(column.icontains(text, autoescape=True) for column in columns)))
        if deleted is not None:
            query = query.where(runs.c.deleted.is_not(None) if deleted else runs.c.deleted.is_(None))
        with self._read() as connection:
            return self._known.runs(connection.execute(query.limit(limit)))

    def void(self) -> frozenset[str]:
        """Ids of the runs whose mechanism was found not to be their plan: their ε does not hold."""
        with self._read() as connection:
            return frozenset(connection.execute(_VOID).scalars())

    def delete(self, run_id: str) -> Run:
        """Hide a run. Its points and files stay until :meth:`purge`. Raises UnknownRun."""
        return self._set_deleted(run_id, time.time(), "deleted", "Run deleted.")

    def undelete(self, run_id: str) -> Run:
        """Bring a deleted run back. Raises UnknownRun, also when it was purged."""
        return self._set_deleted(run_id, None, "undeleted", "Run brought back.")

    def _set_deleted(self, run_id: str, value: float | None, kind: str, message: str) -> Run:
        with self._write() as connection:
            query = sa.update(runs).where(runs.c.id == run_id, runs.c.deleted.is_(None) != (value is None))
            if connection.execute(query.values(deleted=value)).rowcount:
                add_event(connection, run_id, kind, message)
            return find_run(connection, run_id)

    def purge(self, older_than: float) -> list[str]:
        """Remove for good what this folder's runs deleted more than ``older_than`` seconds ago hold; returns their ids.

        Files go first: if that is interrupted, the rows are still there to purge again. What a run spent is kept
        (:meth:`spent`): its results were seen, and deleting them takes nothing back.
        """
        over = [s.value for s in Status if not s.is_active]
        query = sa.select(runs.c.id).where(runs.c.deleted <= time.time() - older_than, runs.c.status.in_(over))
        with self._read() as connection:
            found = list(connection.execute(query.where(runs.c.place == place_id())).scalars())
        for run_id in found:
            shutil.rmtree(paths.runs_dir() / run_id, ignore_errors=True)
            (paths.log_dir() / f"{run_id}.log").unlink(missing_ok=True)
        with self._write() as connection:
            void = set(connection.execute(_VOID).scalars())
            for row in connection.execute(sa.select(runs).where(runs.c.id.in_(found), runs.c.step > 0)).all():
                run = to_run(row)
                kept = {name: getattr(row, name) for name in ("name", "dataset", "plan", "step", "created")}
                kept |= {"run_id": run.id, "randomness": run.config.privacy.randomness, "void": run.id in void}
                kept["imported"] = run.is_imported
                connection.execute(self._insert(spent).values(kept).on_conflict_do_nothing(index_elements=["run_id"]))
            connection.execute(sa.delete(points).where(points.c.run_id.in_(found)))
            connection.execute(sa.delete(events).where(events.c.run_id.in_(found)))
            connection.execute(sa.delete(annotations).where(annotations.c.run_id.in_(found)))
            connection.execute(sa.delete(runs).where(runs.c.id.in_(found)))
        self._known.forget(found)
        return found

    def spent(self, dataset: str | None = None) -> list[Spent]:
        """What every run that released something has spent, purged and deleted ones too, oldest first."""
        query = sa.select(spent)
        if dataset is not None:
            query = query.where(spent.c.dataset == dataset)
        with self._read() as connection:
            gone = [to_spent(row) for row in connection.execute(query)]
            void = set(connection.execute(_VOID).scalars())
        kept = [Spent.of(run, void=run.id in void) for run in self.list(dataset=dataset, deleted=None) if run.step]
        known = {each.run_id for each in kept}
        together = [*kept, *(each for each in gone if each.run_id not in known)]
        return sorted(together, key=lambda each: (each.created, each.run_id))
