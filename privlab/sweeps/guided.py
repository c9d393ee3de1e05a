"""Guided search by Optuna (Akiba et al. 2019, arXiv:1907.10902): TPE (Bergstra et al. 2011; for several objectives Ozaki et
al. 2022) and NSGA-II (Deb et al. 2002). The study is made anew for each proposal from the trials in the store."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from privlab.metrics import METRICS
from privlab.runs.record import Status
from privlab.sweeps.axis import VARIED, Axis
from privlab.sweeps.results import Row
from privlab.sweeps.space import Values
from privlab.sweeps.spec import SweepSpec

#: Trials drawn at random before TPE has an opinion; size of a generation of NSGA-II.
_FIRST, _POPULATION = 8, 12
#: ε of a run without a guarantee, for samplers that cannot reckon with infinity.
_NO_GUARANTEE = 1e6

optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggest(spec: SweepSpec, rows: Sequence[Row], attempt: int = 0) -> Values:
    """What the sampler proposes after ``rows``; another ``attempt`` gives another proposal. The same for the same results."""
    study = _study(spec, _sampler(spec, len(rows), attempt))
    generations: list[int] = []
    for row in rows:
        study.add_trial(_told(spec, row, generations))
    space = {axis.path: _distribution(axis) for axis in spec.space.axes}
    params = study.ask(space).params
    return {axis.path: _value(axis, params[axis.path]) for axis in spec.space.axes}


def _study(spec: SweepSpec, sampler: BaseSampler) -> optuna.Study:
    directions = ["maximize" if METRICS[spec.metric].better == "up" else "minimize"]
    directions += ["minimize"] * spec.searches_epsilon
    return optuna.create_study(directions=directions, sampler=sampler)


def _sampler(spec: SweepSpec, number: int, attempt: int) -> BaseSampler:
    seed = random.Random(f"{spec.seed}:{number}:{attempt}").randrange(2**32)
    if spec.method == "nsga2":
        return NSGAIISampler(seed=seed, population_size=_POPULATION)
    return TPESampler(seed=seed, n_startup_trials=_FIRST)


def _told(spec: SweepSpec, row: Row, generations: list[int]) -> FrozenTrial:
    """A trial as Optuna knows it: running, without result (refused or failed), or with its values.

    Args:
        generations: of the trials with values so far; the trial's is added. Generations are filled in the order of trials.
    """
    about: dict[str, Any] = {
        "params": {axis.path: _param(axis, row.trial.values[axis.path]) for axis in spec.space.axes},
        "distributions": {axis.path: _distribution(axis) for axis in spec.space.axes},
    }
    if not row.is_over:
        return create_trial(state=TrialState.RUNNING, **about)
    values = _values(spec, row)
    if values is None:
        return create_trial(state=TrialState.FAIL, **about)
    generations.append(len(generations) // _POPULATION)
    about["system_attrs"] = {NSGAIISampler._get_generation_key(): generations[-1]}
    return create_trial(state=TrialState.COMPLETE, values=values, **about)


def _values(spec: SweepSpec, row: Row) -> list[float] | None:
    """Mean metric over seeds and, where asked for, ε. A run that was ended early counts as no better than where it ended,
    at the ε of its whole length."""
    known = [
        each
        for each in row.results
        if (each.status == Status.FINISHED or each.is_pruned) and math.isfinite(each.metrics.get(spec.metric, math.nan))
    ]
    if not known:
        return None
    values = [sum(each.metrics[spec.metric] for each in known) / len(known)]
    if spec.searches_epsilon:
        spent = [each.run.plan.epsilon if each.run else each.epsilon for each in known]
        values.append(max(_NO_GUARANTEE if one is None or math.isinf(one) else one for one in spent))
    return values


def _distribution(axis: Axis) -> BaseDistribution:
    points = axis.points
    if points is not None and VARIED[axis.path].is_number:
        # The place of a number in its list: Optuna then knows that neighbours are alike, also on a logarithmic range.
        return IntDistribution(0, len(points) - 1)
    if points is not None:
        return CategoricalDistribution(points)
    kind = IntDistribution if VARIED[axis.path].is_integer else FloatDistribution
    return kind(axis.low, axis.high, log=axis.log)


def _sorted(axis: Axis) -> list[Any]:
    return sorted(axis.points)


def _param(axis: Axis, value: Any) -> Any:
    numbered = axis.points is not None and VARIED[axis.path].is_number
    return _sorted(axis).index(value) if numbered else value


def _value(axis: Axis, param: Any) -> Any:
    numbered = axis.points is not None and VARIED[axis.path].is_number
    return _sorted(axis)[param] if numbered else param
