"""The tables of sweeps, their trials and the runs of those. Every change is one transaction that can be done twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from privlab.runs.migrations.tables import sweeps, trial_runs, trials
from privlab.runs.place import place_id
from privlab.runs.store.database import Database
from privlab.runs.store.errors import SweepConflict, UnknownSweep
from privlab.runs.store.rows import to_metrics
from privlab.runs.sweeprecord import Sweep, SweepState, Trial, TrialRun


class SweepTable(Database):
    """Sweeps as a person sees them, and what their conductor keeps."""

    def create_sweep(
        self,
        sweep_id: str,
        name: str,
        spec: Mapping[str, Any],
        *,
        launch_key: str | None = None,
        drawn: int | None = None,
    ) -> Sweep:
        """Store a new sweep, running. Called again with the same ``launch_key``, it returns the sweep of the first call."""
        row = {
            "id": sweep_id,
            "launch_key": launch_key,
            "name": name,
            "spec": orjson.dumps(spec).decode(),
            "state": SweepState.RUNNING.value,
            "settled": True,
            "drawn": drawn,
            "extended": 0,
            "created": time.time(),
            "seconds": 0.0,
            "place": place_id(),
        }
        with self._write() as connection:
            query = self._insert(sweeps).values(row).on_conflict_do_nothing(index_elements=["launch_key"])
            if connection.execute(query.returning(sweeps.c.id)).one_or_none() is None:
                query = sa.select(sweeps.c.id).where(sweeps.c.launch_key == launch_key)
                sweep_id = connection.execute(query).scalar_one()
        return self.sweep(sweep_id)

    def sweep(self, sweep_id: str) -> Sweep:
        """Raises UnknownSweep."""
        with self._read() as connection:
            return _find(connection, sweep_id)

    def sweeps(self, *, place: str | None = None, open_only: bool = False) -> list[Sweep]:
        """Sweeps, newest first; with ``open_only`` those that run, or whose runs were not yet told that they do not."""
        query = sa.select(sweeps).order_by(sweeps.c.created.desc(), sweeps.c.id.desc())
        if place is not None:
            query = query.where(sweeps.c.place == place)
        if open_only:
            query = query.where(sa.or_(sweeps.c.state == SweepState.RUNNING.value, sweeps.c.settled.is_(False)))
        with self._read() as connection:
            return [_to_sweep(row) for row in connection.execute(query)]

    def move_sweep(
        self,
        sweep_id: str,
        to: SweepState,
        *,
        expect: Iterable[SweepState],
        reason: str | None = None,
        settled: bool = True,
        spec: Mapping[str, Any] | None = None,
        extended: int = 0,
    ) -> Sweep:
        """Change the state in one atomic step (compare and set); ``extended`` is added to its count.

        Raises:
            UnknownSweep, SweepConflict
        """
        values: dict[str, Any] = {
            "state": to.value,
            "reason": reason,
            "settled": settled,
            "ended": time.time() if to.is_over else None,
            "extended": sweeps.c.extended + extended,
        }
        if spec is not None:
            values["spec"] = orjson.dumps(spec).decode()
        query = sa.update(sweeps).where(sweeps.c.id == sweep_id, sweeps.c.state.in_([each.value for each in expect]))
        with self._write() as connection:
            changed = connection.execute(query.values(values)).rowcount
            now = _find(connection, sweep_id)
        if not changed:
            raise SweepConflict(f"Sweep {sweep_id} is {now.state} and cannot become {to}.")
        return now

    def settle_sweep(self, sweep_id: str, state: SweepState) -> None:
        """Note that the runs know of ``state``, unless the sweep has left it in the meantime."""
        query = sa.update(sweeps).where(sweeps.c.id == sweep_id, sweeps.c.state == state.value)
        with self._write() as connection:
            connection.execute(query.values(settled=True))

    def add_sweep_seconds(self, sweep_id: str, seconds: float) -> None:
        query = sa.update(sweeps).where(sweeps.c.id == sweep_id)
        with self._write() as connection:
            connection.execute(query.values(seconds=sweeps.c.seconds + seconds))

    def add_trial(self, sweep_id: str, number: int, values: Mapping[str, Any], refused: str | None = None) -> None:
        """Keep trial ``number``. One that is there already stays as it is."""
        row = {
            "sweep_id": sweep_id,
            "number": number,
            "values": orjson.dumps(values).decode(),
            "refused": refused,
            "created": time.time(),
        }
        query = self._insert(trials).values(row).on_conflict_do_nothing(index_elements=["sweep_id", "number"])
        with self._write() as connection:
            connection.execute(query)

    def link_trial_run(self, sweep_id: str, number: int, seed: int, run_id: str) -> None:
        """Keep which run was launched for a seed of a trial. A second one for the same is refused silently."""
        row = {"sweep_id": sweep_id, "number": number, "seed": seed, "run_id": run_id}
        query = self._insert(trial_runs).values(row | {"metrics": "{}", "step": 0, "seconds": 0.0})
        with self._write() as connection:
            connection.execute(query.on_conflict_do_nothing(index_elements=["sweep_id", "number", "seed"]))

    def note_trial_run(self, sweep_id: str, number: int, seed: int, **changes: Any) -> None:
        """Change what is known of a trial's run: ``pruned``, ``status``, ``metrics``, ``epsilon``, ``step``, ``seconds``."""
        if "metrics" in changes:
            changes["metrics"] = orjson.dumps(changes["metrics"], option=orjson.OPT_SERIALIZE_NUMPY).decode()
        query = sa.update(trial_runs).where(
            trial_runs.c.sweep_id == sweep_id, trial_runs.c.number == number, trial_runs.c.seed == seed
        )
        with self._write() as connection:
            connection.execute(query.values(changes))

    def trials(self, sweep_id: str) -> list[Trial]:
        """The trials with their runs, in order; none for an unknown sweep."""
        runs: dict[int, list[TrialRun]] = {}
        with self._read() as connection:
            query = sa.select(trial_runs).where(trial_runs.c.sweep_id == sweep_id)
            for row in connection.execute(query.order_by(trial_runs.c.number, trial_runs.c.seed)):
                runs.setdefault(row.number, []).append(_to_trial_run(row))
            query = sa.select(trials).where(trials.c.sweep_id == sweep_id).order_by(trials.c.number)
            return [_to_trial(row, runs.get(row.number, ())) for row in connection.execute(query)]

    def delete_sweep(self, sweep_id: str) -> None:
        """Forget a sweep and its trials; its runs stay. Raises UnknownSweep."""
        with self._write() as connection:
            _find(connection, sweep_id)
            for table in (trial_runs, trials):
                connection.execute(sa.delete(table).where(table.c.sweep_id == sweep_id))
            connection.execute(sa.delete(sweeps).where(sweeps.c.id == sweep_id))


def _find(connection: sa.Connection, sweep_id: str) -> Sweep:
    row = connection.execute(sa.select(sweeps).where(sweeps.c.id == sweep_id)).one_or_none()
    if row is None:
        raise UnknownSweep(sweep_id)
    return _to_sweep(row)


def _to_sweep(row: sa.Row) -> Sweep:
    values = dict(row._mapping)
    del values["launch_key"]
    return Sweep(**values | {"spec": orjson.loads(values["spec"]), "state": SweepState(values["state"])})


def _to_trial(row: sa.Row, runs: Sequence[TrialRun]) -> Trial:
    return Trial(row.number, orjson.loads(row._mapping["values"]), row.refused, row.created, tuple(runs))


def _to_trial_run(row: sa.Row) -> TrialRun:
    known = (row.pruned, row.status, to_metrics(row.metrics), row.epsilon, row.step, row.seconds)
    return TrialRun(row.seed, row.run_id, *known)
