"""Which settings decided a metric: permutation importance of a random forest, measured on runs that it has not seen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from privlab.analysis.facts import WITHOUT_EFFECT, Facts
from privlab.analysis.settings import SETTINGS
from privlab.metrics import METRICS

#: Fewer different settings than these say too little; so do fewer than three for each setting that varies.
LEAST_SETTINGS = 12
_A_SETTING = 3
_FOLDS, _TREES, _REPEATS, _SEED = 5, 100, 5, 0
#: Settings whose ranks agree more than this moved together.
_TOGETHER = 0.95


@dataclass(frozen=True)
class Importance:
    """How much one setting decided.

    Attributes:
        path, label: of the setting.
        value: by how much the forest's R² on unseen runs falls when the setting's values are shuffled among them. 0: it did
            not matter here. Not a share: several settings may carry the same information, and values need not add up to 1.
        sd: of ``value`` over folds and shuffles.
        values: different values that occur.
    """

    path: str
    label: str
    value: float
    sd: float
    values: int


@dataclass(frozen=True)
class Importances:
    """What the runs tell of their settings.

    Attributes:
        target: ``epsilon`` or key of a metric.
        settings: by descending importance; empty where ``refusal`` says why.
        r2: R² of the forest on unseen settings, by cross-validation; NaN where refused before it was trained.
        runs: used.
        refusal: why nothing is said, in plain words; empty otherwise.
        cautions: what a reader must know: settings that moved together, a forest that explains little.
    """

    target: str
    settings: tuple[Importance, ...]
    r2: float
    runs: int
    refusal: str = ""
    cautions: tuple[str, ...] = ()


def importances(runs: Sequence[Facts], target: str = "test_accuracy") -> Importances:
    """How much each setting that varies among ``runs`` decided ``target`` at their last points.

    Runs of equal settings are in the same fold, so that a repeat with another seed is no unseen run. Missing numbers (a setting
    that does not apply beside the others) are a value of their own. The same runs always give the same answer.

    Source: Breiman 2001, "Random forests", section 10, for the importance; scikit-learn for the forest.

    Args:
        runs: of one data set; void ones, and those without the target, are left out. For ``epsilon`` also those without a
            guarantee.
        target: ``epsilon`` or a key of :data:`privlab.metrics.METRICS`.

    Raises:
        KeyError: undeclared metric.
    """
    if target != "epsilon":
        METRICS[target]
    used = [run for run in runs if not run.void and math.isfinite(_target(run, target))]
    used.sort(key=lambda run: (run.outcome, _target(run, target)))
    if not used:
        return Importances(target, (), math.nan, 0, "No run has this number yet.")
    data = sorted({run.dataset for run in used})
    if len(data) > 1:
        return Importances(
            target, (), math.nan, len(used), f"The runs are on different data sets ({', '.join(data)}); choose one."
        )
    paths = varying(used)
    kinds = len({run.outcome for run in used})
    needed = max(LEAST_SETTINGS, _A_SETTING * len(paths))
    if not paths:
        return Importances(target, (), math.nan, len(used), "All runs have the same settings, seeds apart.")
    if kinds < needed:
        return Importances(
            target,
            (),
            math.nan,
            len(used),
            f"{kinds} different settings are too few to tell {len(paths)} settings that vary apart; {needed} are needed.",
        )
    y = np.array([_target(run, target) for run in used])
    if float(y.std()) < 1e-12:
        return Importances(target, (), math.nan, len(used), "All runs have the same value, so nothing decided it.")
    if target == "epsilon":
        y = np.log(y)
    places: dict[Any, int] = {}
    blocks = np.array([places.setdefault(run.outcome, len(places)) for run in used])
    columns = [_column(used, path) for path in paths]
    r2, falls = _forest(columns, y, blocks)
    if not r2 > 0:
        return Importances(
            target,
            (),
            r2,
            len(used),
            "The settings do not predict it: on unseen settings a guess of the mean does as well. More runs, or wider steps, may "
            "help.",
        )
    found = [
        Importance(
            path,
            SETTINGS[path].label,
            float(falls[place].mean()),
            float(falls[place].std()),
            len(_values(used, path)),
        )
        for place, path in enumerate(paths)
    ]
    found.sort(key=lambda each: (-each.value, each.path))
    return Importances(target, tuple(found), r2, len(used), cautions=_cautions(r2, columns, paths))


def varying(runs: Sequence[Facts]) -> list[str]:
    """Paths of the settings that have an effect and of which ``runs`` show two values, in the order of their declaration.

    A setting that some runs have no use for, and all others alike, does not vary: it would only say again which runs those are.

    σ and a target ε are two ways to say the same. Where every run has a target, that is what varied; else σ stands for both.
    """
    by_target = all(run.setting("privacy.target_epsilon") is not None for run in runs)
    left_out = {"privacy.noise_multiplier" if by_target else "privacy.target_epsilon", *WITHOUT_EFFECT}
    return [path for path in SETTINGS if path not in left_out and len(_values(runs, path)) > 1]


def _values(runs: Sequence[Facts], path: str) -> set[str]:
    return {repr(value) for run in runs if (value := run.setting(path)) is not None}


def _target(run: Facts, target: str) -> float:
    return run.epsilon if target == "epsilon" else run.metric(target)


def _column(runs: Sequence[Facts], path: str) -> np.ndarray:
    """The setting as numbers, shape (n, k): one column for a number (NaN: none), one for each choice."""
    values = [run.setting(path) for run in runs]
    if SETTINGS[path].is_number:
        return np.array([[math.nan if value is None else float(value)] for value in values])
    kinds = sorted({repr(value) for value in values})
    return np.array([[float(repr(value) == kind) for kind in kinds] for value in values])


def _forest(columns: list[np.ndarray], y: np.ndarray, blocks: np.ndarray) -> tuple[float, np.ndarray]:
    """R² over all unseen runs, and its fall for each setting, fold and shuffle, shape (settings, folds · repeats)."""
    # A second to load, and of no use to whoever only asks for a front.
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import GroupKFold

    x = np.hstack(columns)
    ends = np.cumsum([column.shape[1] for column in columns])
    random = np.random.default_rng(_SEED)
    total = float(((y - y.mean()) ** 2).sum())
    missed, falls = 0.0, [[] for _ in columns]
    for learn, test in GroupKFold(_FOLDS, shuffle=True, random_state=_SEED).split(x, y, blocks):
        forest = RandomForestRegressor(_TREES, random_state=_SEED, n_jobs=1).fit(x[learn], y[learn])
        error = float(((forest.predict(x[test]) - y[test]) ** 2).sum())
        missed += error
        # All shuffles of a fold at once: one call of the forest instead of hundreds.
        shuffled = np.tile(x[test], (len(columns) * _REPEATS, 1, 1))
        for place, end in enumerate(ends):
            begin = end - columns[place].shape[1]
            for repeat in range(_REPEATS):
                row = shuffled[place * _REPEATS + repeat]
                row[:, begin:end] = row[random.permutation(len(test)), begin:end]
        guesses = forest.predict(shuffled.reshape(-1, x.shape[1])).reshape(len(shuffled), -1)
        errors = ((guesses - y[test]) ** 2).sum(axis=1)
        share = len(test) / len(y) * total
        for place in range(len(columns)):
            falls[place] += ((errors[place * _REPEATS : (place + 1) * _REPEATS] - error) / share).tolist()
    return 1 - missed / total, np.array(falls)


def _cautions(r2: float, columns: list[np.ndarray], paths: list[str]) -> tuple[str, ...]:
    found = []
    if r2 < 0.5:
        found.append(f"The settings explain only {100 * r2:.0f} % of what varies; the rest is chance or not seen yet.")
    for (a, one), (b, other) in combinations(enumerate(columns), 2):
        if _agreement(one, other) > _TOGETHER:
            found.append(
                f"{SETTINGS[paths[a]].label} and {SETTINGS[paths[b]].label} moved together, so these runs cannot tell which of "
                "them it was."
            )
    return tuple(found)


def _agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Largest absolute rank correlation of any two columns, 0 … 1."""
    from scipy.stats import spearmanr

    best = 0.0
    for x in one.T:
        for y in other.T:
            known = np.isfinite(x) & np.isfinite(y)
            if known.sum() < 3 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = float(spearmanr(x[known], y[known]).statistic)
            best = max(best, abs(found) if math.isfinite(found) else 0.0)
    return best
