"""“I need 85 % on this data”: the smallest ε for it, with which settings, and what to run next to be surer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from privlab.analysis.answer import Answer, known_words, prediction_words, trust_words
from privlab.analysis.facts import Facts, Promise
from privlab.analysis.pareto import fronts, least_epsilon
from privlab.analysis.prediction import predict
from privlab.analysis.proposals import aimed, first_design, propose
from privlab.analysis.seeds import groups
from privlab.analysis.surface import Surface, fit, from_scale, to_scale
from privlab.metrics import METRICS, Metric

#: Fewer runs with a guarantee, or fewer different ε, carry no surface.
LEAST_RUNS, LEAST_EPSILONS = 6, 3
#: Share of the variance of left-out results that must be predicted. Of pure noise half was predicted in none of 180 made-up
#: worlds.
LEAST_SKILL = 0.5


def plan_for(
    runs: Iterable[Facts],
    value: float,
    metric: str = "test_accuracy",
    *,
    dataset: str | None = None,
    promise: Promise | None = None,
    proposals: int = 3,
) -> Answer:
    """The smallest ε with which the metric is expected to be at least as good as ``value``.

    The last points of runs with a guarantee make a surface over ε and the settings that vary (:mod:`privlab.analysis.surface`).
    Paths drawn from it cross the goal at different ε; their quantiles are the interval. What a budget of ε allows is the best
    that any smaller ε gives as well, so a path counts from where it first meets the goal. Only recipes that were run are
    judged, and only ε between the smallest and the largest measured: nothing is extrapolated. The same runs give the same
    answer.

    Args:
        runs: finished ones or not; void ones, publications and those without the metric are left out.
        value: the goal, in the metric's unit (0.85 for 85 %).
        dataset: which data set; may be left out where all runs are on one.
        promise: which δ and neighbouring; default the one with most results.
        proposals: how many runs to propose at most.

    Raises:
        KeyError: undeclared metric.
        ValueError: a metric without a better direction, a share outside 0…1, or fewer than 0 proposals.
    """
    told = METRICS[metric]
    if not told.better:
        raise ValueError(f"metric={metric!r} has no better direction, so there is nothing to reach.")
    if told.unit == "share" and not 0 < value < 1:
        raise ValueError(f"value={value:g} must be a share above 0 and below 1, as 0.85 for 85 %.")
    if not math.isfinite(value) or (told.unit != "share" and value <= 0):
        raise ValueError(f"value={value:g} must be a finite number above 0.")
    if proposals < 0:
        raise ValueError(f"proposals={proposals} must be at least 0.")
    used = [run for run in runs if not run.void and run.provenance != "reference" and math.isfinite(run.metric(metric))]
    data = sorted({run.dataset for run in used})
    if dataset is None and len(data) > 1:
        return _mute(metric, value, f"The runs are on several data sets ({', '.join(data)}); choose one.")
    used = [run for run in used if dataset in (None, run.dataset)]
    standing = fronts(groups(used), metric)
    standing = [front for front in standing if promise in (None, front.promise)]
    if not standing:
        return _mute(
            metric, value, "No run has this number yet. Launch one at several ε, for example four privacy levels."
        )
    front = standing[0]
    known = least_epsilon(front, value)
    private = [
        run
        for candidate in (*front.on, *front.behind)
        for run in candidate.group.runs
        if run.has_guarantee and run.config is not None
    ]
    levels = {round(math.log(run.epsilon), 1) for run in private}
    said = known_words(known, front, value)
    if len(private) < LEAST_RUNS or len(levels) < LEAST_EPSILONS:
        why = (
            f"Cannot say: {len(private)} run{'' if len(private) == 1 else 's'} with a guarantee at {len(levels)} different ε; {LEAST_RUNS} runs at "
            f"{LEAST_EPSILONS} different ε are the least."
        )
        return Answer("cannot say", metric, value, known, missing=first_design(private, proposals), why=(why, *said))
    surface = fit(private, told)
    if surface.skill < LEAST_SKILL:
        why = (
            f"Cannot say: these runs follow no clear pattern. Each result was guessed from the others, which explains "
            f"{100 * max(0.0, surface.skill):.0f} % of the differences; {100 * LEAST_SKILL:.0f} % are needed to tell a pattern from "
            "chance. More repeats or wider steps of ε help."
        )
        checked = {"coverage": surface.coverage, "checked": surface.checked}
        return Answer(
            "cannot say", metric, value, known, missing=first_design(private, proposals), why=(why, *said), **checked
        )
    answer = replace(_predicted(surface, private, value, told, proposals), known=known)
    return replace(answer, why=(*answer.why, *said, trust_words(surface)))


def _predicted(surface: Surface, private: Sequence[Facts], value: float, told: Metric, proposals: int) -> Answer:
    """What the surface says, with ``why`` for that alone."""
    found = predict(surface, private, float(to_scale(np.array([value]), told)[0]))
    reached = math.isfinite(found.epsilon)
    first = found.epsilon <= found.smallest * (1 + 1e-9)
    answer = Answer(
        ("at most" if first else "predicted") if reached else "out of reach",
        told.key,
        value,
        chosen=found.ranked[0],
        low=found.low,
        high=found.high,
        chance=found.chance,
        coverage=surface.coverage,
        checked=surface.checked,
    )
    span = (found.largest, found.largest * 2)
    if reached:
        span = (found.low, min(found.high, found.largest))
        config = aimed(found.ranked[0], found.epsilon, private)
        answer = replace(answer, config=config, epsilon=found.epsilon, one_run=found.one_run, safe=found.safe)
    missing = propose(surface, found, private, span, proposals)
    why = prediction_words(answer, found.largest, from_scale(found.farthest, told))
    return replace(answer, missing=missing, why=why)


def _mute(metric: str, value: float, why: str) -> Answer:
    return Answer("cannot say", metric, value, why=(why,))
