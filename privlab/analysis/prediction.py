"""The smallest ε with which a recipe meets a goal, by paths drawn from a surface."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from privlab.analysis.facts import Facts
from privlab.analysis.surface import Surface, recipe

#: Of the interval that is told, and of a single run that is to be safe.
CONFIDENCE = 0.9
_GRID, _PATHS, _SEED = 60, 1000, 0


@dataclass(frozen=True, eq=False)
class Prediction:
    """How much ε a goal takes.

    Attributes:
        ranked: a run of each recipe, the recipe that is predicted to need least first. What follows is about that one.
        crossings: ε at which each drawn path first meets the goal, shape (paths,), by the id of a run of ``ranked``; inf where it
            never does.
        smallest, largest: ε measured.
        epsilon: median of the crossings; inf where most paths never meet the goal.
        low, high: 90 % interval of it, ``low`` the smallest ε measured at least, NaN where hardly any path meets the goal.
        chance: share of the paths that meet it.
        one_run: chance that a single run at ``epsilon`` meets it; NaN where that is inf.
        safe: ε at which a single run meets it with 90 %; inf where no ε measured is.
        farthest: the mean at ``largest``, on the surface's scale.
    """

    ranked: tuple[Facts, ...]
    crossings: Mapping[str, np.ndarray]
    smallest: float
    largest: float
    epsilon: float
    low: float
    high: float
    chance: float
    one_run: float
    safe: float
    farthest: float


def predict(surface: Surface, runs: Sequence[Facts], goal: float) -> Prediction:
    """What ``surface`` says of ``goal``, on its scale, for the recipes of ``runs``. The same runs give the same answer."""
    smallest, largest = min(run.epsilon for run in runs), max(run.epsilon for run in runs)
    grid = np.geomspace(smallest, largest, _GRID)
    recipes = {recipe(run): run for run in runs}.values()
    crossings = {run.id: _crossings(surface, run, grid, goal) for run in recipes}
    ranked = sorted(recipes, key=lambda run: (float(np.median(crossings[run.id])), -_chance(crossings[run.id]), run.id))
    found = crossings[ranked[0].id]
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = (_quantile(found, share) for share in (tail, 0.5, 1 - tail))
    at = surface.place(ranked[0], grid)
    means = surface.mean(at)
    deviation = np.sqrt(np.maximum(np.diag(surface.covariance(at)), 0) + surface.noise_deviation**2)
    one = ndtr((means - goal) / deviation)
    return Prediction(
        tuple(ranked),
        crossings,
        smallest,
        largest,
        middle,
        max(low, smallest) if math.isfinite(low) else math.nan,
        high,
        _chance(found),
        float(np.interp(math.log(middle), np.log(grid), one)) if math.isfinite(middle) else math.nan,
        next((float(e) for e, share in zip(grid, one, strict=True) if share >= CONFIDENCE), math.inf),
        float(means[-1]),
    )


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
