"""A sweep as it stands: its trials joined with the runs as they are now, or were when last seen."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson

from privlab.metrics import METRICS
from privlab.runs.record import Run, Status
from privlab.runs.store import Store
from privlab.runs.sweeprecord import Sweep, Trial, TrialRun
from privlab.sweeps.spec import SweepSpec

#: What the store keeps of a run that a person deleted before it was over.
DELETED = "deleted"


@dataclass(frozen=True)
class Result:
    """One run of a trial.

    Attributes:
        run: as the store has it; None where it was removed.
        kept: what the sweep keeps of it.
    """

    kept: TrialRun
    run: Run | None

    @property
    def status(self) -> str:
        """A :class:`Status` in words, or ``deleted``."""
        if self.run is None:
            return self.kept.status or DELETED
        if self.run.deleted is not None and not self.run.status.is_over:
            return DELETED
        return self.run.status.value

    @property
    def is_over(self) -> bool:
        return self.status == DELETED or Status(self.status).is_over

    @property
    def is_pruned(self) -> bool:
        """Whether the search ended it early; not so where it was done before it heard of that."""
        return self.kept.pruned is not None and self.status != Status.FINISHED

    @property
    def metrics(self) -> dict[str, float]:
        return self.run.metrics if self.run else self.kept.metrics

    @property
    def epsilon(self) -> float | None:
        """ε spent; None before the first point and without a guarantee."""
        return self.run.epsilon if self.run else self.kept.epsilon

    @property
    def seconds(self) -> float:
        return self.run.seconds if self.run else self.kept.seconds

    @property
    def step(self) -> int:
        return self.run.step if self.run else self.kept.step


@dataclass(frozen=True)
class Row:
    """One trial with the results of its seeds.

    Attributes:
        seeds: how many seeds it is to be trained with.
    """

    trial: Trial
    results: tuple[Result, ...]
    seeds: int

    @property
    def state(self) -> str:
        """``refused``, ``waiting``, ``training``, ``ended early``, ``failed`` or ``done``."""
        if self.trial.refused is not None:
            return "refused"
        if not self.results:
            return "waiting"
        if (len(self.results) < self.seeds and not self.was_pruned) or not all(each.is_over for each in self.results):
            return "training"
        if self.was_pruned:
            return "ended early"
        return "done" if any(each.status == Status.FINISHED for each in self.results) else "failed"

    @property
    def was_pruned(self) -> bool:
        return any(each.is_pruned for each in self.results)

    @property
    def is_over(self) -> bool:
        return self.state not in ("waiting", "training")

    def values(self, metric: str) -> list[float]:
        """``metric`` of each seed that finished, in order of seeds."""
        done = (each for each in self.results if each.status == Status.FINISHED)
        return [each.metrics[metric] for each in done if metric in each.metrics]

    def mean(self, metric: str) -> float | None:
        """Mean of ``metric`` over the seeds that finished; None for none."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def spread(self, metric: str) -> float | None:
        """Standard deviation of ``metric`` over seeds; None for fewer than two."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def epsilon(self) -> float | None:
        """ε of one of its runs, the largest; None where none has a point, or no guarantee is claimed."""
        known = [each.epsilon for each in self.results if each.status == Status.FINISHED and each.epsilon is not None]
        return max(known, default=None)

    @property
    def is_private(self) -> bool:
        """Whether its runs claim a guarantee, as far as they are still there to say so."""
        plans = [each.run.plan.is_private for each in self.results if each.run]
        return all(plans) if plans else self.epsilon is not None


@dataclass(frozen=True)
class Standing:
    """A sweep with everything known of it."""

    sweep: Sweep
    spec: SweepSpec
    rows: tuple[Row, ...]

    @property
    def accepted(self) -> list[Row]:
        return [row for row in self.rows if row.trial.refused is None]

    @property
    def refused(self) -> list[Row]:
        return [row for row in self.rows if row.trial.refused is not None]

    @property
    def results(self) -> list[tuple[Row, Result]]:
        return [(row, result) for row in self.rows for result in row.results]

    @property
    def launched(self) -> int:
        return sum(len(row.results) for row in self.rows)

    @property
    def trials(self) -> int:
        """Combinations to try, those that are refused included."""
        return self.spec.most_trials if self.sweep.drawn is None else self.sweep.drawn

    def best(self) -> Row | None:
        """The trial with the best mean of the metric; None before one has finished."""
        key = self.spec.metric
        scored = [(row.mean(key), row) for row in self.rows if row.mean(key) is not None]
        pick = max if METRICS[key].better == "up" else min
        return pick(scored, key=lambda pair: pair[0])[1] if scored else None


def standing(store: Store, sweep_id: str) -> Standing:
    """Raises UnknownSweep."""
    return standing_of(store.sweep(sweep_id), store.trials(sweep_id), store.list(group=sweep_id, deleted=None))


def standing_of(sweep: Sweep, trials: Sequence[Trial], runs: Sequence[Run]) -> Standing:
    spec, known = spec_of(sweep), {run.id: run for run in runs}
    rows = [
        Row(trial, tuple(Result(each, known.get(each.run_id)) for each in trial.runs), spec.seeds) for trial in trials
    ]
    return Standing(sweep, spec, tuple(rows))


def spec_of(sweep: Sweep) -> SweepSpec:
    """The checked specification of a stored sweep."""
    # In the order of the file: it decides the order of a grid.
    return _spec(orjson.dumps(sweep.spec))


@lru_cache(maxsize=64)
def _spec(text: bytes) -> SweepSpec:
    return SweepSpec.read(orjson.loads(text))
