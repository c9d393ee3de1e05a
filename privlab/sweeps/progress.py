"""How far a sweep is, and how long it will take."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from privlab.config import ConfigError
from privlab.preflight import Preflight, preflight
from privlab.runs.estimate import estimate
from privlab.runs.limits import max_concurrent
from privlab.runs.record import Status
from privlab.runs.store import Store
from privlab.sweeps.results import Result, Standing
from privlab.sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Progress:
    """Counts of runs, seeds included.

    Attributes:
        total: runs to come to; those of refused combinations, and seeds spared by an early end, are not in it.
        done: finished, failed, stopped, ended early or deleted.
        finished, failed, pruned, refused: of ``done``; ``refused`` counts combinations, which never became runs.
        open: in the queue, training or paused.
        share: of the whole work, 0 … 1; runs at work count by their steps.
        seconds_left: None where nothing tells.
    """

    total: int
    done: int
    finished: int
    failed: int
    pruned: int
    refused: int
    open: int
    share: float
    seconds_left: float | None


def progress(store: Store, standing: Standing) -> Progress:
    """How far the sweep is, by its trials and runs."""
    spec = standing.spec
    results = [result for _, result in standing.results]
    over = [result for result in results if result.is_over]
    spared = sum(spec.seeds - len(row.results) for row in standing.accepted if row.was_pruned)
    total = max(
        len(results), min((standing.trials - len(standing.refused)) * spec.seeds - spared, spec.budget.runs or 10**9)
    )
    if standing.sweep.state.is_over:
        total = len(results)
    moving = [result for result in results if not result.is_over]
    work = len(over) + sum(_part(each) for each in moving)
    return Progress(
        total=total,
        done=len(over),
        finished=sum(each.status == Status.FINISHED for each in over),
        failed=sum(each.status == Status.FAILED for each in over),
        pruned=sum(each.is_pruned for each in over),
        refused=len(standing.refused),
        open=len(moving),
        share=work / total if total else 1.0,
        seconds_left=_left(store, standing, over, moving, total),
    )


def _part(result: Result) -> float:
    return result.run.step / result.run.steps if result.run and result.run.steps else 0.0


def _left(
    store: Store, standing: Standing, over: Sequence[Result], moving: Sequence[Result], total: int
) -> float | None:
    """What runs took here, for those that are not yet done, as many at once as may be."""
    if standing.sweep.state.is_over:
        return 0.0
    took = [_took(each) for each in over if each.status == Status.FINISHED]
    if took:
        # The median: a run that was paused for an hour says nothing of the others.
        mean = statistics.median(took)
    else:
        known = [
            each.run.seconds / each.run.step * each.run.steps
            for each in moving
            if each.run and each.run.step and each.run.seconds
        ]
        mean = sum(known) / len(known) if known else _guess(store, standing)
    if mean is None:
        return None
    rest = total - len(over) - sum(_part(each) for each in moving)
    together = max(1, min(standing.spec.at_once, max_concurrent(store), total - len(over)))
    return max(0.0, rest * mean / together)


def _took(result: Result) -> float:
    """From its first step to its end, which is more than training: preparing data, a second opinion on ε."""
    run = result.run
    return run.ended - run.started if run and run.ended and run.started else result.seconds


def _guess(store: Store, standing: Standing) -> float | None:
    for row in standing.accepted:
        try:
            found = estimate(
                store, preflight(standing.spec.candidate(row.trial.values, standing.spec.base.training.seed))
            )
        except ConfigError:
            continue
        return found.seconds if found else None
    return None


def predicted_seconds(store: Store, spec: SweepSpec, checked: Sequence[Preflight]) -> float | None:
    """How long the whole sweep will take, from some of its combinations; None where no earlier run or measurement tells."""
    found = [each.seconds for each in (estimate(store, one) for one in checked) if each]
    if not found:
        return None
    together = max(1, min(spec.at_once, max_concurrent(store), spec.most_runs))
    return sum(found) / len(found) * spec.most_runs / together
