"""What privacy costs, step by step: from training as usual to full DP-SGD, one change after the other.

Five trainings with the same data, batch size, epochs and optimiser: the usual network on shuffled batches; the network that is
ready for DP; the same on Poisson batches; clipped; clipped and with noise. The difference between neighbours is what that
one change costs *in this order*: changes act on each other, and another order would share the whole out differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from privlab.analysis.facts import Facts
from privlab.analysis.seeds import Group, Summary, summarise
from privlab.analysis.settings import values_of
from privlab.analysis.significance import Difference, difference
from privlab.config import ConfigError, RunConfig
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS
from privlab.models.catalogue import MODELS, misfit
from privlab.preflight import preflight

#: The trainings in order, each with what its change is called.
STEPS: dict[str, str] = {
    "plain": "training as usual",
    "architecture": "network ready for DP",
    "sampling": "Poisson batches",
    "clipping": "clipping",
    "noise": "noise",
}


@dataclass(frozen=True)
class Decomposition:
    """The trainings that a private one is taken apart into.

    Attributes:
        configs: by key of :data:`STEPS`, in order; a training that cannot be had is left out, and ``notes`` says why.
        notes: what a reader must know, in plain sentences.
    """

    configs: dict[str, RunConfig]
    notes: tuple[str, ...] = ()

    def launches(self, seeds: int) -> list[tuple[str, RunConfig]]:
        """All trainings with seeds 0 … ``seeds`` − 1, all steps of a seed together. Raises ValueError below 1."""
        if seeds < 1:
            raise ValueError(f"seeds={seeds} must be at least 1.")
        return [
            (step, config.replace(training__seed=seed))
            for seed in range(seeds)
            for step, config in self.configs.items()
        ]

    def step_of(self, run: Facts) -> str | None:
        """Which of the trainings ``run`` repeats; None for another one."""
        return next((step for step, config in self.configs.items() if _outcome(config) == run.outcome), None)


@dataclass(frozen=True)
class Cost:
    """What one change did to the metric.

    Attributes:
        step: key of :data:`STEPS`: the training after the change.
        label: the change, in words.
        difference: metric after it minus before it; its interval is NaN where a side has one run.
    """

    step: str
    label: str
    difference: Difference


@dataclass(frozen=True)
class Breakdown:
    """Measured levels and costs.

    Attributes:
        metric: its key.
        levels: by step, in order: mean and 95 % interval at the last points.
        costs: of each change between neighbouring trainings that were measured.
        total: of all changes together; None with fewer than two levels.
        epsilon: spent by the private training; NaN where it is not measured.
        missing: steps without a finished run.
        notes: of the decomposition.
    """

    metric: str
    levels: dict[str, Summary]
    costs: tuple[Cost, ...]
    total: Difference | None
    epsilon: float
    missing: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def decompose(config: RunConfig, learning_rates: Mapping[str, float] | None = None) -> Decomposition:
    """The trainings that ``config`` is taken apart into.

    All are in clear and by one owner: encryption changes no result, and owners share the same noise out.

    Args:
        config: a private training.
        learning_rates: of some of the trainings, by key of :data:`STEPS`; the others keep the private one's. Without clipping
            gradients are longer, so that its rate can be far too large there, and clipping then looks like a gain.

    Raises:
        ConfigError: ``config`` is not private, or clips adaptively, which cannot be had without noise; an unknown step.
    """
    rates = dict(learning_rates or {})
    if unknown := [step for step in rates if step not in STEPS]:
        raise ConfigError.at("--learning-rate", f"{unknown[0]!r} is no training; choose one of {', '.join(STEPS)}.")
    privacy = config.privacy
    if not privacy.is_private:
        raise ConfigError.at(
            "privacy.noise_multiplier", "noise_multiplier=0 is no private training, so there is nothing to take apart."
        )
    if privacy.clipping == "adaptive":
        raise ConfigError.at(
            "privacy.clipping",
            "clipping=adaptive learns C from a noisy count, so clipping cannot be had without noise; choose flat.",
        )
    raw = config.to_dict()
    raw.pop("encryption", None)
    raw["name"] = config.name or config.data.dataset
    bare = {
        key: value
        for key, value in raw["privacy"].items()
        if key not in ("target_epsilon", "noise_multiplier", "epsilon_limit", "noise_schedule", "bands", "protection")
    }
    open_ = {k: v for k, v in bare.items() if k not in ("clipping", "clip_schedule")}
    open_ |= {"clipping": "none", "noise_multiplier": 0.0}
    poisson = raw | {"privacy": open_}
    shuffled = poisson | {"privacy": open_ | {"sampling": "shuffled"}}
    made: dict[str, dict[str, Any]] = {
        "architecture": shuffled,
        "sampling": poisson,
        "clipping": raw | {"privacy": bare | {"noise_multiplier": 0.0}},
        "noise": raw,
    }
    notes = _notes(config, rates)
    usual, lacking = _usual(config)
    if usual:
        made = {"plain": shuffled | {"model": {"name": usual}}, **made}
    notes += lacking
    found = {}
    for step in made:
        own = {"learning_rate": rates[step]} if step in rates else {}
        about = {"name": f"{raw['name']} · {STEPS[step]}", "training": raw["training"] | own}
        found[step] = RunConfig.from_dict(made[step] | about)
    for each in found.values():
        preflight(each)
    return Decomposition(found, notes)


def breakdown(decomposition: Decomposition, runs: Iterable[Facts], metric: str = "test_accuracy") -> Breakdown:
    """What the finished ones of ``runs`` say about each change; others are passed over.

    Raises:
        KeyError: undeclared metric.
    """
    METRICS[metric]
    sorted_: dict[str, list[Facts]] = {step: [] for step in decomposition.configs}
    for run in runs:
        step = decomposition.step_of(run)
        if step and run.status == "finished" and not run.void and math.isfinite(run.metric(metric)):
            sorted_[step].append(run)
    measured = {step: Group(tuple(found)) for step, found in sorted_.items() if found}
    levels = {step: summarise(group.final(metric)) for step, group in measured.items()}
    order = list(measured)
    costs = tuple(
        Cost(after, _between(before, after, decomposition), _difference(measured[after], measured[before], metric))
        for before, after in pairwise(order)
    )
    total = _difference(measured[order[-1]], measured[order[0]], metric) if len(order) > 1 else None
    epsilon = measured["noise"].epsilon if "noise" in measured else math.nan
    missing = tuple(step for step in decomposition.configs if step not in measured)
    return Breakdown(metric, levels, costs, total, epsilon, missing, decomposition.notes)


def _difference(after: Group, before: Group, metric: str) -> Difference:
    def side(group: Group) -> list[tuple[int | None, float]]:
        return [(run.seed, run.metric(metric)) for run in group.runs]

    return difference(side(after), side(before))


def _between(before: str, after: str, decomposition: Decomposition) -> str:
    """The change; several of them where a training in between is not measured."""
    steps = list(decomposition.configs)
    passed = steps[steps.index(before) + 1 : steps.index(after) + 1]
    return " + ".join(STEPS[step] for step in passed)


def _outcome(config: RunConfig) -> tuple[tuple[str, str], ...]:
    return Facts("", settings=values_of(config)).outcome


def _usual(config: RunConfig) -> tuple[str | None, tuple[str, ...]]:
    """The network usually trained in the place of this one, and why there is none."""
    model = MODELS.get(config.model.name)
    data = config.data.dataset
    if model is None or data not in DATASETS:
        return None, ()
    if model.usual and misfit(model.usual, data) is None:
        return model.usual, ()
    return None, (
        f"{model.title} has no counterpart here that is usually trained without privacy, so what its architecture costs is not "
        "measured."
        + (
            " For a ResNet that would be BatchNorm, whose sums over a batch are not sums over records: it needs a path of its own "
            "beside the private step, in training/, that no private run can reach."
            if model.key == "resnet-gn"
            else ""
        ),
    )


def _notes(config: RunConfig, rates: Mapping[str, float]) -> tuple[str, ...]:
    found, own = [], config.training.learning_rate
    if all(rate == own for rate in rates.values()):
        found.append(
            f"All trainings have learning rate {own:g}. What suits clipped gradients can be too much without clipping, and then "
            "clipping looks like a gain; give the trainings without it rates of their own."
        )
    else:
        each = ", ".join(f"{STEPS[step]} {rates.get(step, own):g}" for step in STEPS)
        found.append(f"Learning rates: {each}. A step between two of them holds that change as well.")
    if config.privacy.bands > 1:
        found.append(
            f"The step to noise also changes the batches: with {config.privacy.bands} bands records take turns."
        )
    if config.training.augmentations > 1:
        found.append("All trainings see the same augmented views.")
    return tuple(found)


def in_words(found: Breakdown) -> Sequence[str]:
    """The levels and costs as sentences, for a shell or a page."""
    told = METRICS[found.metric]
    lines = [
        f"{STEPS[step]}: {told.show(level.mean)}"
        + (f" ± {told.show(level.high - level.mean)} ({level.n} seeds)" if level.n > 1 else " (one run)")
        for step, level in found.levels.items()
    ]
    lines += [f"{cost.label} costs {_signed(cost.difference, found.metric)}" for cost in found.costs]
    if found.total:
        lines.append(f"all together cost {_signed(found.total, found.metric)}")
    return lines


def _signed(found: Difference, metric: str) -> str:
    told = METRICS[metric]
    sign = -1 if told.better == "up" else 1
    scale, unit = (100, " points") if told.unit == "share" else (1, "")
    low, high = sorted((sign * found.low, sign * found.high))
    said = f"{scale * sign * found.effect:+.2f}{unit}"
    return said + (f" (95 % interval {scale * low:+.2f} to {scale * high:+.2f})" if math.isfinite(low) else "")
