"""“I need 85 % on this data”: the smallest ε for it, with which settings, and what to run next to be surer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from privlab.analysis.facts import Facts, Promise
from privlab.analysis.pareto import Candidate, Front, best_at, fronts, least_epsilon
from privlab.analysis.seeds import groups
from privlab.analysis.surface import Surface, fit, recipe, to_scale
from privlab.config import ConfigError, RunConfig
from privlab.metrics import METRICS
from privlab.preflight import preflight

#: Fewer runs with a guarantee, or fewer different ε, carry no surface.
LEAST_RUNS, LEAST_EPSILONS = 6, 3
#: Share of the variance of left-out results that must be predicted. Of pure noise half was predicted in none of 180 made-up
#: worlds.
LEAST_SKILL = 0.5
#: Of the interval that is told.
CONFIDENCE = 0.9
_GRID, _PATHS, _SEED = 60, 1000, 0

Word = Literal["predicted", "at most", "out of reach", "cannot say"]


@dataclass(frozen=True)
class Proposal:
    """A run that would teach most. ``gain``: share of the present variance, at the ε in question, that it would remove; NaN:
    unknown."""

    config: RunConfig
    epsilon: float
    gain: float
    why: str


@dataclass(frozen=True, eq=False)
class Answer:
    """What the runs say about a goal.

    Attributes:
        word: ``predicted``: ε with its interval. ``at most``: even the smallest ε measured is enough, so the smallest is not
            known. ``out of reach``: more likely than not, no ε up to the largest measured is enough with these settings.
            ``cannot say``.
        metric, value: the goal.
        known: the measured result with the smallest ε that meets the goal (its mean, where it was repeated); None where none
            does.
        chosen: a run of the recipe that is predicted to need least; None for ``cannot say``.
        config: its settings aimed at ``epsilon``; None where none is predicted.
        epsilon: median of the smallest ε with which the **mean over seeds** meets the goal; NaN where not predicted.
        low, high: 90 % interval of it. ``high`` is inf where the runs do not bound it, ``low`` the smallest ε measured at
            least.
        chance: that the goal is met by the mean over seeds within the ε measured.
        one_run: chance that a single run at ``epsilon`` meets it: about one half by construction; aim higher to be safe.
        safe: ε at which a single run meets it with 90 %; inf where no ε measured is.
        coverage, checked: share of left-out results within their 90 % interval, and how many were left out.
        missing: runs to launch next, most telling first.
        why: all of it in plain sentences.
    """

    word: Word
    metric: str
    value: float
    known: Candidate | None = None
    chosen: Facts | None = None
    config: RunConfig | None = None
    epsilon: float = math.nan
    low: float = math.nan
    high: float = math.nan
    chance: float = math.nan
    one_run: float = math.nan
    safe: float = math.nan
    coverage: float = math.nan
    checked: int = 0
    missing: tuple[Proposal, ...] = ()
    why: tuple[str, ...] = ()


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
    said = _known_words(known, front, value)
    if len(private) < LEAST_RUNS or len(levels) < LEAST_EPSILONS:
        return Answer(
            "cannot say",
            metric,
            value,
            known,
            missing=_first_design(private, proposals),
            why=(
                f"Cannot say: {len(private)} run(s) with a guarantee at {len(levels)} different ε; {LEAST_RUNS} runs at "
                f"{LEAST_EPSILONS} different ε are the least.",
                *said,
            ),
        )
    surface = fit(private, told)
    if surface.skill < LEAST_SKILL:
        return Answer(
            "cannot say",
            metric,
            value,
            known,
            coverage=surface.coverage,
            checked=surface.checked,
            missing=_first_design(private, proposals),
            why=(
                f"Cannot say: the other runs predict only {100 * max(0.0, surface.skill):.0f} % of what left-out results vary by, "
                f"too little to tell a law from chance ({100 * LEAST_SKILL:.0f} % are needed). More repeats or wider steps of ε help.",
                *said,
            ),
        )
    return _predicted(surface, private, known, said, value, metric, proposals)


def _predicted(
    surface: Surface,
    private: Sequence[Facts],
    known: Candidate | None,
    said: tuple[str, ...],
    value: float,
    metric: str,
    proposals: int,
) -> Answer:
    told = METRICS[metric]
    goal = float(to_scale(np.array([value]), told)[0])
    ends = min(run.epsilon for run in private), max(run.epsilon for run in private)
    grid = np.geomspace(*ends, _GRID)
    recipes = list({recipe(run): run for run in private}.values())
    crossings = {run.id: _crossings(surface, run, grid, goal) for run in recipes}
    chosen = min(recipes, key=lambda run: (float(np.median(crossings[run.id])), -_chance(crossings[run.id]), run.id))
    found = crossings[chosen.id]
    chance = _chance(found)
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = (_quantile(found, share) for share in (tail, 0.5, 1 - tail))
    about = {
        "known": known,
        "chosen": chosen,
        "low": max(low, ends[0]) if math.isfinite(low) else math.nan,
        "high": high,
        "chance": chance,
        "coverage": surface.coverage,
        "checked": surface.checked,
    }
    at = surface.place(chosen, grid)
    trust = (
        f"Checked by leaving results out: {100 * surface.coverage:.0f} % of {surface.checked} lay within their 90 % interval"
        + (f", after widening all intervals {surface.widening:.1f} times." if surface.widening > 1.05 else ".")
    )
    if math.isinf(middle):
        top = float(surface.mean(at[-1:])[0])
        missing = _proposed(surface, private, recipes, crossings, (ends[1], ends[1] * 2), proposals)
        return Answer(
            "out of reach", metric, value, **about, missing=missing,
            why=(
                f"Out of reach, as far as these runs say: up to ε = {ends[1]:.3g} the chance of {told.show(value)} is "
                f"{100 * chance:.0f} %; {chosen.called}'s settings are expected to end at {told.show(_from_scale(top, metric))}.",
                *said, trust,
            ),
        )  # fmt: skip
    deviation = np.sqrt(np.maximum(np.diag(surface.covariance(at)), 0) + surface.noise_deviation**2)
    one = _normal_sf((goal - surface.mean(at)) / deviation)
    safe = next((float(e) for e, share in zip(grid, one, strict=True) if share >= CONFIDENCE), math.inf)
    single = float(np.interp(math.log(middle), np.log(grid), one))
    span = (about["low"], high if math.isfinite(high) else ends[1])
    missing = _proposed(surface, private, recipes, crossings, span, proposals)
    first = middle <= grid[0] * (1 + 1e-9)
    between = (
        f"{about['low']:.3g} to {high:.3g}" if math.isfinite(high) else f"{about['low']:.3g} upwards without a bound"
    )
    sentence = (
        f"At most ε = {middle:.3g}: the smallest ε measured is enough already; how much less would do is not known."
        if first
        else f"ε = {middle:.3g} (90 % interval {between}) is expected to give {told.show(value)} on average over seeds, with "
        f"{chosen.called}'s settings."
    )
    sure = (
        f"To get it in a single run with chance 90 %, aim at ε = {safe:.3g}."
        if math.isfinite(safe)
        else "No ε measured gives it in a single run with chance 90 %."
    )
    return Answer(
        "at most" if first else "predicted", metric, value, **about, config=_aimed(chosen, middle, private), epsilon=middle,
        one_run=single, safe=safe, missing=missing, why=(sentence, sure, *said, trust),
    )  # fmt: skip


def _mute(metric: str, value: float, why: str) -> Answer:
    return Answer("cannot say", metric, value, why=(why,))


def _known_words(known: Candidate | None, front: Front, value: float) -> tuple[str, ...]:
    told, found = METRICS[front.metric], []
    if known:
        once = "a single run; another seed may miss it" if known.n == 1 else f"mean of {known.n} seeds"
        found.append(
            f"Reached already: {known.label} with {told.show(known.value)} at ε = {known.epsilon:.4g} ({once})."
        )
    else:
        best = best_at(front, 1e9)
        if best:
            found.append(f"Best so far: {best.label} with {told.show(best.value)} at ε = {best.epsilon:.4g}.")
    sign = 1 if told.better == "up" else -1
    if not known and front.without and sign * front.without[0].value < sign * value:
        found.append(f"Even without a guarantee no run got further than {told.show(front.without[0].value)}.")
    if front.caution:
        found.append(front.caution)
    return tuple(found)


def _crossings(surface: Surface, run: Facts, grid: np.ndarray, goal: float) -> np.ndarray:
    """ε at which each of the drawn paths first meets the goal, shape (paths,); inf where it never does."""
    places = surface.place(run, grid)
    covariance = surface.covariance(places)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0))
    drawn = np.random.default_rng(_SEED).standard_normal((len(grid), _PATHS))
    paths = surface.mean(places)[:, None] + root @ drawn
    met = paths >= goal
    after = met.argmax(axis=0)
    before, each = np.maximum(after - 1, 0), np.arange(_PATHS)
    # Linear in log ε between the last place that misses the goal and the first that meets it.
    rise = paths[after, each] - paths[before, each]
    part = np.divide(goal - paths[before, each], rise, out=np.zeros(_PATHS), where=(after > 0) & (rise > 0))
    at = np.exp(np.log(grid[before]) + np.clip(part, 0, 1) * np.log(grid[after] / grid[before]))
    return np.where(met.any(axis=0), at, math.inf)


def _chance(crossings: np.ndarray) -> float:
    return float(np.isfinite(crossings).mean())


def _quantile(crossings: np.ndarray, share: float) -> float:
    return float(np.sort(crossings)[min(len(crossings) - 1, int(share * len(crossings)))])


def _from_scale(scaled: float, metric: str) -> float:
    told = METRICS[metric]
    raw = scaled if told.better == "up" else -scaled
    return 1 / (1 + math.exp(-raw)) if told.unit == "share" else math.exp(raw)


def _normal_sf(z: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return norm.sf(z)


# What to run next ------------------------------------------------------------------------------------------------------------


def _proposed(
    surface: Surface,
    private: Sequence[Facts],
    recipes: Sequence[Facts],
    crossings: dict[str, np.ndarray],
    span: tuple[float, float],
    count: int,
) -> tuple[Proposal, ...]:
    """Greedily, the runs that lower the variance of the best recipes within ``span`` most (Krause, Singh, Guestrin 2008, JMLR
    9)."""
    ranked = sorted(
        recipes, key=lambda run: (float(np.median(crossings[run.id])), -_chance(crossings[run.id]), run.id)
    )[:3]
    low, high = span
    asked = np.geomspace(low, max(high, low * 1.05), 8)
    matter = np.vstack([surface.place(run, asked) for run in ranked])
    # A recipe matters by the chance that it needs no more than the best one does.
    middle = float(np.median(crossings[ranked[0].id]))
    weights = np.repeat([float((crossings[run.id] <= min(middle, high)).mean()) + 0.01 for run in ranked], len(asked))
    choices = [(run, _round(float(e))) for run in ranked for e in asked]
    offered = np.vstack([surface.place(run, np.array([e])) for run, e in choices])
    both = np.vstack([matter, offered])
    covariance = surface.covariance(both)
    noise, first = surface.noise_deviation**2, len(matter)
    before = float(weights @ np.diag(covariance)[:first])
    found: list[Proposal] = []
    for _ in range(count):
        gains = weights @ (covariance[:first, first:] ** 2) / (np.diag(covariance)[first:] + noise)
        best = int(np.argmax(gains))
        run, epsilon = choices[best]
        config = _aimed(run, epsilon, private, len(found))
        if config is not None and before > 0:
            found.append(
                Proposal(
                    config, epsilon, float(gains[best]) / before,
                    f"{run.called}'s settings at ε = {epsilon:g}: takes {100 * gains[best] / before:.0f} % off the uncertainty.",
                )
            )  # fmt: skip
        column = covariance[:, first + best]
        covariance = covariance - np.outer(column, column) / (column[first + best] + noise)
    return tuple(found)


def _first_design(private: Sequence[Facts], count: int) -> tuple[Proposal, ...]:
    """Without a surface: the last settings over ε = 1, 2, 4, 8, what was measured left out."""
    if not private:
        return ()
    base, found = max(private, key=lambda run: run.created), []
    for epsilon in (2.0, 8.0, 1.0, 4.0, 0.5):
        near = any(abs(math.log(run.epsilon / epsilon)) < 0.2 for run in private)
        if len(found) < count and not near and (config := _aimed(base, epsilon, private, len(found))):
            found.append(
                Proposal(
                    config, epsilon, math.nan, f"{base.called}'s settings at ε = {epsilon:g}: nothing is known there."
                )
            )
    return tuple(found)


def _round(epsilon: float) -> float:
    return float(f"{epsilon:.2g}")


def _aimed(run: Facts, epsilon: float, private: Sequence[Facts], later: int = 0) -> RunConfig | None:
    """The settings of ``run`` aimed at ``epsilon`` with a seed that no run has; None where preflight refuses them."""
    seeds = {each.seed or 0 for each in private}
    base = run.config.name.split(" · ")[0]
    aim = f"ε = {_round(epsilon):g}"
    try:
        config = run.config.replace(
            name=f"{base} · {aim}" if base else aim,
            privacy__target_epsilon=_round(epsilon),
            privacy__epsilon_limit=0.0,
            training__seed=(max(seeds, default=-1) + 1 + later) % 2**31,
        )
        preflight(config)
    except ConfigError:
        return None
    return config
