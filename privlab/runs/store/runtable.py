"""The table of runs: making, finding, hiding and removing them."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterable

import orjson
import sqlalchemy as sa

from privlab import paths
from privlab.config import RunConfig
from privlab.privacy import PrivacyPlan
from privlab.runs.migrations.tables import events, points, runs, spent
from privlab.runs.place import place_id
from privlab.runs.record import Run, Spent, Status
from privlab.runs.store.database import Database
from privlab.runs.store.rows import add_event, find_run, to_run, to_spent

#: Runs whose mechanism was found not to be their plan.
_VOID = sa.select(events.c.run_id).where(events.c.kind == "void").distinct()


def new_id() -> str:
    """A fresh run id: ten hexadecimal digits."""
    return secrets.token_hex(5)


class RunTable(Database):
    """Runs as a person sees them."""

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
            return [to_run(row) for row in connection.execute(query.limit(limit))]

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
                connection.execute(self._insert(spent).values(kept).on_conflict_do_nothing(index_elements=["run_id"]))
            connection.execute(sa.delete(points).where(points.c.run_id.in_(found)))
            connection.execute(sa.delete(events).where(events.c.run_id.in_(found)))
            connection.execute(sa.delete(runs).where(runs.c.id.in_(found)))
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
