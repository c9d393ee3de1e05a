"""Runs that would teach most about the smallest ε for a goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from privlab.analysis.facts import Facts
from privlab.analysis.prediction import Prediction
from privlab.analysis.surface import Surface
from privlab.config import ConfigError, RunConfig
from privlab.preflight import preflight

#: Recipes that may still turn out best, and are looked at.
_RECIPES = 3


@dataclass(frozen=True)
class Proposal:
    """A run that would teach most. ``gain``: share of the present variance, at the ε in question, that it would remove; NaN:
    unknown."""

    config: RunConfig
    epsilon: float
    gain: float
    why: str


def propose(
    surface: Surface, prediction: Prediction, private: Sequence[Facts], span: tuple[float, float], count: int
) -> tuple[Proposal, ...]:
    """Greedily, the runs that lower the variance of the best recipes within ``span`` most (Krause, Singh, Guestrin 2008, JMLR
    9)."""
    ranked, crossings = prediction.ranked[:_RECIPES], prediction.crossings
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
        config = aimed(run, epsilon, private, len(found))
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


def first_design(private: Sequence[Facts], count: int) -> tuple[Proposal, ...]:
    """Without a surface: the last settings over ε = 1, 2, 4, 8, what was measured left out."""
    if not private:
        return ()
    base, found = max(private, key=lambda run: run.created), []
    for epsilon in (2.0, 8.0, 1.0, 4.0, 0.5):
        near = any(abs(math.log(run.epsilon / epsilon)) < 0.2 for run in private)
        if len(found) < count and not near and (config := aimed(base, epsilon, private, len(found))):
            found.append(
                Proposal(
                    config, epsilon, math.nan, f"{base.called}'s settings at ε = {epsilon:g}: nothing is known there."
                )
            )
    return tuple(found)


def _round(epsilon: float) -> float:
    return float(f"{epsilon:.2g}")


def aimed(run: Facts, epsilon: float, private: Sequence[Facts], later: int = 0) -> RunConfig | None:
    """The settings of ``run`` aimed at ``epsilon`` with a seed that no run has; None where preflight refuses them."""
    seeds = {each.seed or 0 for each in private}
    base = _without_aim(run.config.name)
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


def _without_aim(name: str) -> str:
    """``name`` without what another aim makes untrue: an earlier aim, and the noise and seed that a sweep writes into it."""
    head, _, varied = name.split(" · ")[0].partition(": ")
    kept = [part for part in varied.split(", ") if not part.startswith(("σ = ", "ε = ", "seed "))]
    return ": ".join(part for part in (head, ", ".join(kept)) if part)
