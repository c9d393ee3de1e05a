"""What a search itself costs in privacy: of everything that it released, and of the best run alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from privlab.config import ConfigError, RunConfig
from privlab.preflight import preflight
from privlab.privacy.phases import Phase, total_steps
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.selection import naive_epsilon, selection_epsilon
from privlab.runs.ledger import Ledger, ledger_of
from privlab.runs.record import Run, Spent, Status
from privlab.runs.store import Store
from privlab.runs.sweeprecord import SweepState
from privlab.sweeps.results import DELETED, Row, Standing
from privlab.sweeps.space import costs_privacy
from privlab.sweeps.spec import SweepSpec

#: Settings whose ends bound everything between: q and T grow with them, or σ does.
_MONOTONE = ("privacy.noise_multiplier", "privacy.target_epsilon", "training.batch_size", "training.epochs")
#: Settings that a run may come to differ in after its launch.
_CHANGED_BY_HAND = ("training.epochs", "privacy.noise_schedule", "privacy.noise_schedule_custom")
#: Plans that the bound may rest on; each takes some 0.1 s.
_MOST_PLANS = 32


@dataclass(frozen=True)
class SearchCost:
    """What the search on one data set costs.

    Attributes:
        ledger: all that its runs released, as the ledger counts it; deleted and removed runs count.
        adaptive: why the ledger's ε is not proved for this search, as the rest of a sentence; None where it is.
        beforehand: ε of the most runs that the search may launch, each as costly as its costliest; it was fixed before the
            first result, so it holds whatever the search does. None where there is no such number.
        best: ε of publishing nothing but the best run. None where no theorem gives it.
        no_best: why, as the rest of a sentence.
    """

    ledger: Ledger
    adaptive: str | None
    beforehand: float | None
    best: float | None
    no_best: str | None


def search_costs(store: Store, standing: Standing) -> list[SearchCost]:
    """The cost on each data set that a run of the sweep has touched, by name."""
    ours = {result.kept.run_id for _, result in standing.results}
    by_dataset: dict[str, list[Spent]] = {}
    for each in store.spent():
        if each.run_id in ours:
            by_dataset.setdefault(each.dataset, []).append(each)
    return [_cost(standing, dataset, runs) for dataset, runs in sorted(by_dataset.items())]


def joint_epsilon(runs: Iterable[Spent]) -> float:
    """ε of ``runs`` together at the steps that each says, on the data set where that is most; inf without a guarantee."""
    by_dataset: dict[str, list[Spent]] = {}
    for each in runs:
        by_dataset.setdefault(each.dataset, []).append(each)
    return max((ledger_of(key, found).epsilon for key, found in by_dataset.items()), default=0.0)


def _cost(standing: Standing, dataset: str, runs: Sequence[Spent]) -> SearchCost:
    no_best = _no_best(standing, runs)
    bound = _bound(standing, dataset, runs)
    best = None
    if no_best is None:
        best = _selection(standing.spec, dataset) if bound is not None else None
        no_best = None if best is not None else "its costliest run is not bounded beforehand"
    return SearchCost(ledger_of(dataset, runs), _adaptive(standing), bound, best, no_best)


def _adaptive(standing: Standing) -> str | None:
    spec = standing.spec
    if spec.method in ("tpe", "nsga2"):
        return "earlier results chose the settings of later runs"
    if spec.prune != "none":
        return "results of some runs ended others"
    if standing.sweep.extended:
        return "a person made the search longer, perhaps because of its results"
    if standing.sweep.state in (SweepState.STOPPED, SweepState.PAUSED):
        return "a person ended or paused the search, perhaps because of its results"
    return _by_hand(standing)


def _by_hand(standing: Standing) -> str | None:
    """Why the length of a run was not the search's own."""
    for row, result in standing.results:
        if not result.is_pruned and result.status in (Status.STOPPED, DELETED):
            return "a person stopped one of its runs, perhaps because of its results"
        if result.run and _is_changed(standing.spec, row, result.run):
            return "a person changed one of its runs, perhaps because of its results"
    return None


def _is_changed(spec: SweepSpec, row: Row, run: Run) -> bool:
    """Whether a person gave the run more epochs or more noise (:mod:`privlab.runs.control`)."""
    return any(_of(run.config, path) != row.trial.values.get(path, _of(spec.base, path)) for path in _CHANGED_BY_HAND)


def _of(config: RunConfig, path: str) -> Any:
    group, name = path.split(".")
    return getattr(getattr(config, group), name)


def _bound(standing: Standing, dataset: str, runs: Sequence[Spent]) -> float | None:
    """ε of as many runs as may be launched, each the worst of the space. A pair of distributions that dominates every run
    dominates the search, however results choose among them (Zhu, Dong, Wang 2022, arXiv:2106.08567, theorem 10)."""
    if standing.sweep.extended:
        return None
    worst = worst_run(standing.spec, dataset)
    if worst is None or not all(_is_below(each, worst[0]) for each in runs):
        return None
    number = standing.trials * standing.spec.seeds
    phase, delta, adjacency = worst
    phase = replace(phase, steps=phase.steps * min(number, standing.spec.budget.runs or number))
    return naive_epsilon([(phase,)], delta, adjacency=adjacency)


def _is_below(run: Spent, worst: Phase) -> bool:
    """Whether a run did no more than ``worst``: one that a person extended afterwards may have."""
    done = run.plan.phases_until(run.step)
    return (
        run.is_private
        and total_steps(done) <= worst.steps
        and all(
            phase.sample_rate <= worst.sample_rate and phase.noise_multiplier >= worst.noise_multiplier
            for phase in done
        )
    )


def worst_run(spec: SweepSpec, dataset: str) -> tuple[Phase, float, str] | None:
    """Steps that are as costly as those of every run of the space on ``dataset``, with δ and the neighbours.

    The highest sampling rate, the least noise and the most steps of any; None where a run has no guarantee, noise is
    rounded, or the space is too large to look through.
    """
    plans = _plans(spec.to_toml(), dataset)
    if not plans or not all(plan.is_private and not plan.rounded for plan in plans):
        return None
    phases = [phase for plan in plans for phase in plan.phases]
    phase = Phase(
        max(phase.sample_rate for phase in phases),
        min(phase.noise_multiplier for phase in phases),
        max(total_steps(plan.phases) for plan in plans),
    )
    # One record more or less, and one user more or less: replacing one of either bounds both, as in the ledger.
    replaced = len({plan.unit for plan in plans}) > 1 or any(plan.adjacency == "replace-one" for plan in plans)
    return phase, min(plan.delta for plan in plans), "replace-one" if replaced else "add-or-remove-one"


@lru_cache(maxsize=64)
def _plans(text: str, dataset: str) -> tuple[PrivacyPlan, ...]:
    """Plans of the corners of the space, between which every other plan lies; empty where they are too many."""
    spec = SweepSpec.from_toml(text)
    if spec.base.privacy.randomness == "reproducible" or "privacy.randomness" in spec.space.paths:
        return ()
    sides = []
    for axis in spec.space.axes:
        if not costs_privacy(axis.path):
            continue
        if axis.path in _MONOTONE:
            sides.append([(axis.path, value) for value in axis.ends])
        elif axis.points is not None:
            sides.append([(axis.path, value) for value in axis.points])
        else:
            return ()
    corners = list(itertools.islice(itertools.product(*sides), _MOST_PLANS + 1))
    if len(corners) > _MOST_PLANS:
        return ()
    found = []
    middle = {axis.path: axis.ends[0] for axis in spec.space.axes}
    for corner in corners:
        values = middle | dict(corner)
        if values.get("data.dataset", spec.base.data.dataset) != dataset:
            continue
        try:
            found.append(preflight(spec.candidate(values, spec.base.training.seed)).plan)
        except ConfigError:
            # A corner that cannot be launched bounds nothing; what lies beside it might be launched.
            return ()
    return tuple(found)


def _no_best(standing: Standing, runs: Sequence[Spent]) -> str | None:
    sweep = standing.sweep
    if sweep.drawn is None:
        return "a person chose the number of runs, and the theorem needs one that was drawn at random"
    if sweep.extended or sweep.state is not SweepState.FINISHED:
        return "the search did not run to the end of the number that was drawn"
    if not all(each.is_private for each in runs):
        return "it needs a guarantee from every run"
    if changed := _by_hand(standing):
        return changed
    if any(each.plan.adjacency == "replace-one" for each in runs) or len({each.plan.unit for each in runs}) > 1:
        return "its theorem is about one record added or removed, and a run protects against its replacement"
    if "data.dataset" in standing.spec.space.paths:
        return "the search chose among data sets"
    return None


def _selection(spec: SweepSpec, dataset: str) -> float | None:
    """The best of a geometric number of trials, each of all its seeds (Papernot and Steinke 2022, theorem 2)."""
    phase, delta, _ = worst_run(spec, dataset)
    return selection_epsilon((replace(phase, steps=phase.steps * spec.seeds),), delta, spec.trials, "geometric")


def spent_if_launched(store: Store, standing: Standing, plan: PrivacyPlan, dataset: str, randomness: str) -> float:
    """ε of every run that the sweep has launched, each at its whole length, and one more with ``plan``."""
    planned = [
        replace(Spent.of(result.run), step=result.run.plan.steps) for _, result in standing.results if result.run
    ]
    here = {each.run_id for each in planned}
    gone = {result.kept.run_id for _, result in standing.results} - here
    planned += [each for each in store.spent() if each.run_id in gone] if gone else []
    more = Spent("next", "", dataset, randomness, plan, plan.steps, 0.0, "queued")
    return joint_epsilon([*planned, more])
