"""The search space: which settings vary around which others, checked as a whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from privlab.config import ConfigError, Problem, RunConfig
from privlab.config.run import set_path
from privlab.data.catalogue import DATASETS
from privlab.sweeps.axis import VARIED, Axis, read_axis

SIGMA, TARGET = "privacy.noise_multiplier", "privacy.target_epsilon"
#: Settings that the accountants do not know of. What is not named here may change the plan.
_NO_MATTER = (
    *("training.optimizer", "training.learning_rate", "training.momentum", "training.augmentations"),
    *("training.ema_decay", "training.curve_points", "privacy.max_grad_norm", "privacy.automatic_stability"),
    *("privacy.target_quantile", "privacy.quantile_rate"),
)
Values = dict[str, Any]


@dataclass(frozen=True)
class Space:
    """The axes of a sweep, in the order in which they were said; at least one."""

    axes: tuple[Axis, ...]

    @classmethod
    def read(cls, raw: Mapping[str, Any], base: RunConfig) -> Space:
        """The space that ``raw`` (an entry for each dotted path) says around ``base``.

        Raises:
            ConfigError: every problem, each at ``space.<path>``.
        """
        axes, problems = [], []
        for path, entry in raw.items():
            try:
                axes.append(read_axis(path, entry))
            except ConfigError as error:
                problems += error.problems
        if not raw:
            problems.append(Problem("space", "no setting is varied: choose at least one."))
        problems += _contradictions(axes, base)
        if problems:
            raise ConfigError(problems)
        return cls(tuple(axes))

    def to_raw(self) -> dict[str, Any]:
        return {axis.path: axis.to_raw() for axis in self.axes}

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(axis.path for axis in self.axes)

    def axis(self, path: str) -> Axis:
        return next(axis for axis in self.axes if axis.path == path)

    @property
    def endless(self) -> tuple[str, ...]:
        """Paths of ranges that have neither step nor count: a grid cannot go through them."""
        return tuple(axis.path for axis in self.axes if axis.points is None)

    @property
    def size(self) -> float:
        """Number of combinations; inf with a range of which any value may be taken."""
        return math.inf if self.endless else math.prod(len(axis.points) for axis in self.axes)

    def combinations(self) -> Iterator[Values]:
        """Every combination, the last axis quickest. For a space without ``endless``."""
        for values in itertools.product(*(axis.points for axis in self.axes)):
            yield dict(zip(self.paths, values, strict=True))

    def combination(self, number: int) -> Values:
        """The combination at ``number`` (from 0) of :meth:`combinations`."""
        values: Values = {}
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis.points))
            values[axis.path] = axis.points[place]
        return {path: values[path] for path in self.paths}

    def drawn(self, shares: list[float]) -> Values:
        """The combination at uniform numbers ``shares`` (0 … 1), one an axis."""
        return {axis.path: axis.at(share) for axis, share in zip(self.axes, shares, strict=True)}


def with_values(base: RunConfig, values: Mapping[str, Any], **more: Any) -> RunConfig:
    """``base`` with ``values`` by path, and ``more`` as :meth:`RunConfig.replace` takes it. Raises ConfigError."""
    raw = base.to_dict()
    for path, value in values.items():
        set_path(raw, path, value)
    for path, value in more.items():
        set_path(raw, path.replace("__", "."), value)
    return RunConfig.from_dict(raw)


def costs_privacy(path: str) -> bool:
    """Whether setting ``path`` can change what a run costs in privacy."""
    return path not in _NO_MATTER and not path.startswith("performance.")


def in_words(values: Mapping[str, Any]) -> str:
    """``C = 0.5, η = 0.1`` by symbols where settings have one, else by labels."""
    return ", ".join(f"{short(path)} = {shown(path, value)}" for path, value in values.items())


def short(path: str) -> str:
    """What a setting is called on an axis: its symbol, or its label where it has none of its own."""
    knob = VARIED[path].knob
    return knob.symbol or knob.label


def shown(path: str, value: Any) -> str:
    """A value in words, rounded as a person reads it."""
    return f"{value:.4g}" if isinstance(value, float) else VARIED[path].show(value)


def _contradictions(axes: list[Axis], base: RunConfig) -> list[Problem]:
    found = []
    paths = {axis.path: axis for axis in axes}
    if SIGMA in paths and TARGET in paths:
        found.append(
            Problem(
                f"space.{TARGET}",
                "noise_multiplier and target_epsilon are both varied: each decides the other; vary one of them.",
            )
        )
    if base.encryption.needs_passphrase:
        found.append(
            Problem(
                "base.encryption.key",
                "key=passphrase is refused: a passphrase is never stored, so nobody could start the later runs; choose a key.",
            )
        )
    if "encryption.key" in paths and "passphrase" in paths["encryption.key"].ends:
        found.append(
            Problem("space.encryption.key", "passphrase is refused: it is never stored; choose another kind of key.")
        )
    found += _too_large(paths, base)
    found += _without_effect(paths, base)
    return found


def _too_large(paths: Mapping[str, Axis], base: RunConfig) -> list[Problem]:
    """Batches larger than every data set that the space has."""
    if "training.batch_size" not in paths:
        return []
    keys = paths["data.dataset"].values if "data.dataset" in paths else (base.data.dataset,)
    known = [DATASETS[key] for key in keys if key in DATASETS]
    if not known:
        return []
    units = _taken("data.unit", paths, base)
    largest, unit = max(((facts, unit) for facts in known for unit in units), key=lambda pair: pair[0].units(pair[1]))
    size, most = max(paths["training.batch_size"].ends), largest.units(unit)
    if size <= most:
        return []
    return [
        Problem(
            "space.training.batch_size",
            f"batch_size={size:,} must be at most N={most:,}, the training {unit}s of {largest.title}.",
        )
    ]


def _without_effect(paths: Mapping[str, Axis], base: RunConfig) -> list[Problem]:
    """Settings to which the other choices leave nothing to say: their runs would all be the same."""
    found = []
    for path in paths:
        for others, allowed in (VARIED[path].knob.when or {}).items():
            taken = {other: _taken(other, paths, base) for other in others.split("|")}
            if not any(set(values) & set(allowed) for values in taken.values()):
                now = " and ".join(f"{other}={', '.join(map(str, values))}" for other, values in taken.items())
                found.append(
                    Problem(f"space.{path}", f"it has no effect with {now}; it has one with {', '.join(allowed)}.")
                )
    clipping = _taken("privacy.clipping", paths, base)
    if "privacy.max_grad_norm" in paths and set(clipping) == {"none"}:
        found.append(Problem("space.privacy.max_grad_norm", "it has no effect with clipping=none."))
    return found


def _taken(path: str, paths: Mapping[str, Axis], base: RunConfig) -> tuple[Any, ...]:
    group, name = path.split(".")
    return paths[path].ends if path in paths else (getattr(getattr(base, group), name),)
