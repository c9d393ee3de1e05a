"""What a sweep is: settings to start from, the space around them, how it is searched, and when it ends."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w

from privlab.config import ConfigError, Problem, RunConfig, load_preset
from privlab.metrics import METRICS, UTILITY, Release
from privlab.sweeps.space import Space, Values, costs_privacy, in_words, with_values

Method = Literal["grid", "random", "tpe", "nsga2"]
Prune = Literal["none", "epsilon", "step"]
METHODS: dict[str, str] = {
    "grid": "Grid: every combination",
    "random": "Random",
    "tpe": "Guided: Bayesian (TPE)",
    "nsga2": "Guided: evolutionary (NSGA-II)",
}
#: Runs of one sweep, seeds included.
MOST_RUNS = 1000
MOST_SEEDS = 100
MOST_AT_ONCE = 64
MOST_HOURS = 24.0 * 365
#: A drawn number of trials stays this many times below the limit on average, so that the limit cuts it off with a chance
#: below e⁻⁴⁰ only.
_DRAWN_BELOW = 40
#: Metrics that a search may go by: measured on test records. Those on training records would leave the guarantee.
SEARCHABLE = tuple(key for key, metric in METRICS.items() if metric.release is Release.TEST_DATA and metric.better)


@dataclass(frozen=True)
class Budget:
    """When a sweep ends before its trials do; None where there is no such limit.

    Attributes:
        runs: runs launched, seeds included.
        hours: time in which the sweep is driven; pauses, and an app that is closed, do not count.
        epsilon: ε of all its runs together, each at its full length. No run is launched that would pass it.
    """

    runs: int | None = None
    hours: float | None = None
    epsilon: float | None = None


@dataclass(frozen=True)
class SweepSpec:
    """One sweep, as a file and the store hold it. Build it by :meth:`read`, which checks it.

    Attributes:
        base: the settings that are not varied.
        space: those that are.
        method: ``grid``, ``random``, ``tpe`` or ``nsga2``.
        metric: what is searched for, a key of :data:`SEARCHABLE`.
        least_epsilon: search for a small ε too: the result is a front, not a point. For guided methods.
        seeds: trainings of each combination: seeds ``base.training.seed``, the next one, …
        seed: of the search itself: the same seed and the same results propose the same combinations.
        trials: combinations to try; None (a grid): all.
        trials_drawn: the number of trials was drawn from a geometric distribution of mean ``trials`` before the first one.
        at_once: most of its runs in the queue or training at a time.
        prune: end runs early whose test metric is below the median of the others at equal ``epsilon`` or ``step``.
    """

    name: str
    base: RunConfig
    space: Space
    method: Method = "grid"
    metric: str = "test_accuracy"
    least_epsilon: bool = True
    seeds: int = 1
    seed: int = 0
    trials: int | None = None
    trials_drawn: bool = False
    at_once: int = 4
    prune: Prune = "none"
    budget: Budget = field(default_factory=Budget)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> SweepSpec:
        """The sweep that nested plain values say: ``preset`` or ``base``, ``space``, and the attributes by name.

        Raises:
            ConfigError: every problem found, each with the path of its entry.
        """
        problems = [Problem(key, f"unknown entry {key}.") for key in raw if key not in _ENTRIES]
        base = None
        try:
            base = _base(raw)
        except ConfigError as error:
            problems += error.problems
        space = None
        if base is not None:
            try:
                space = Space.read(_flat(raw.get("space", {})), base)
            except ConfigError as error:
                problems += error.problems
        values, found = _plain_entries(raw, base)
        problems += found
        if not problems:
            spec = cls(base=base, space=space, **values)
            problems += _misfits(spec)
        if problems:
            raise ConfigError(problems)
        return spec

    @classmethod
    def from_toml(cls, text: str) -> SweepSpec:
        """Raises ConfigError, also for text that is not TOML."""
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError.at("file", f"not valid TOML: {error}") from None
        return cls.read(raw)

    @classmethod
    def from_file(cls, path: Path) -> SweepSpec:
        """Raises ConfigError, also for a file that cannot be read."""
        try:
            return cls.from_toml(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError.at("file", f"{path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError as error:
            raise ConfigError.at("file", f"{path} is no text: {error}.") from None

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values from which :meth:`read` makes an equal sweep."""
        raw: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        raw["budget"] = {name: value for name in _BUDGET if (value := getattr(self.budget, name)) is not None}
        raw = {name: value for name, value in raw.items() if value is not None and value != {}}
        return raw | {"base": self.base.to_dict(), "space": self.space.to_raw()}

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_dict())

    @property
    def most_trials(self) -> int:
        """Combinations that are tried if no budget ends the sweep before."""
        return int(self.space.size) if self.trials is None else int(min(self.trials, self.space.size))

    @property
    def most_runs(self) -> int:
        """Runs that are launched at most."""
        return min(self.most_trials * self.seeds, self.budget.runs or MOST_RUNS)

    @property
    def is_guided(self) -> bool:
        """Whether results decide which settings come next, or how long a run trains."""
        return self.method in ("tpe", "nsga2") or self.prune != "none"

    @property
    def searches_epsilon(self) -> bool:
        """Whether ε is a goal beside the metric: wanted, and something that is varied changes it."""
        return self.least_epsilon and any(costs_privacy(path) for path in self.space.paths)

    @property
    def all_seeds(self) -> range:
        first = self.base.training.seed
        return range(first, first + self.seeds)

    def candidate(self, values: Values, seed: int) -> RunConfig:
        """The settings of one run. Raises ConfigError where ``values`` do not fit together."""
        name = f"{self.name}: {in_words(values)}" + (f", seed {seed}" if self.seeds > 1 else "")
        return with_values(self.base, values, training__seed=seed, name=name)

    def candidates(self) -> Iterator[Values]:
        """Every combination of a space that has an end."""
        return self.space.combinations()

    def replace(self, **changes: Any) -> SweepSpec:
        """A changed copy, checked. Raises ConfigError."""
        return SweepSpec.read(replace(self, **changes).to_dict())


_BUDGET = ("runs", "hours", "epsilon")
_PLAIN = (
    *("name", "method", "metric", "least_epsilon", "seeds", "seed"),
    *("trials", "trials_drawn", "at_once", "prune"),
)
_ENTRIES = {*_PLAIN, "preset", "base", "space", "budget"}


def _base(raw: Mapping[str, Any]) -> RunConfig:
    if "preset" in raw and "base" in raw:
        raise ConfigError.at("preset", "preset and base are both given; give one of them.")
    if "preset" in raw:
        return load_preset(str(raw["preset"]))
    if not isinstance(raw.get("base"), Mapping):
        raise ConfigError.at("base", "neither preset nor base is given; a sweep starts from one of them.")
    try:
        return RunConfig.from_dict(raw["base"])
    except ConfigError as error:
        raise ConfigError([Problem(f"base.{p.path}", p.message) for p in error.problems]) from None


def _flat(raw: Any) -> dict[str, Any]:
    """The space by dotted path, where a file may also nest: ``[space.training]`` with ``learning_rate`` in it."""
    if not isinstance(raw, Mapping):
        raise ConfigError.at("space", f"space={raw!r} is refused: it has an entry for each setting that is varied.")
    found: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, Mapping) and "." not in key and not {"low", "high"} & set(value):
            found |= {f"{key}.{name}": each for name, each in value.items()}
        else:
            found[key] = value
    return found


def _plain_entries(raw: Mapping[str, Any], base: RunConfig | None) -> tuple[dict[str, Any], list[Problem]]:
    """Every entry but base and space, and what is wrong with them."""
    utility = UTILITY[base.data.task].key if base else "test_accuracy"
    values: dict[str, Any] = {
        "name": str(raw.get("name", "")).strip()[:80] or "sweep",
        "method": raw.get("method", "grid"),
        "metric": raw.get("metric", utility),
        "least_epsilon": raw.get("least_epsilon", True),
        "prune": raw.get("prune", "none"),
        "trials_drawn": raw.get("trials_drawn", False),
    }
    found = []
    for name, allowed in (("method", get_args(Method)), ("metric", SEARCHABLE), ("prune", get_args(Prune))):
        if values[name] not in allowed:
            found.append(Problem(name, f"{name}={values[name]!r} is none of {', '.join(allowed)}."))
    for name in ("least_epsilon", "trials_drawn"):
        if not isinstance(values[name], bool):
            found.append(Problem(name, f"{name}={values[name]!r} is refused: it is true or false."))
    guided = values["method"] != "grid"
    for name, default, low, high in (
        ("seeds", 1, 1, MOST_SEEDS),
        ("seed", 0, 0, 2**31 - 1),
        ("trials", 20 if guided else None, 1, MOST_RUNS),
        ("at_once", 4, 1, MOST_AT_ONCE),
    ):
        values[name] = raw.get(name, default)
        found += _out_of(name, values[name], low, high, whole=True)
    limits = raw.get("budget", {})
    if not isinstance(limits, Mapping):
        return values, [*found, Problem("budget", f"budget={limits!r} is refused: it has runs, hours and epsilon.")]
    found += [Problem(f"budget.{key}", f"unknown entry {key}.") for key in limits if key not in _BUDGET]
    found += _out_of("budget.runs", limits.get("runs"), 1, MOST_RUNS, whole=True)
    found += _out_of("budget.hours", limits.get("hours"), 0, MOST_HOURS)
    found += _out_of("budget.epsilon", limits.get("epsilon"), 0, 1000)
    values["budget"] = Budget(*(limits.get(name) for name in _BUDGET))
    return values, found


def _out_of(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> list[Problem]:
    if value is None:
        return []
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and math.isfinite(value)
    if number and (low <= value <= high if whole else low < value <= high):
        return []
    kind = "a whole number from" if whole else "a number above"
    return [
        Problem(
            name,
            f"{name.rsplit('.')[-1]}={value!r} is refused: give {kind} {low:,} {'to' if whole else 'and at most'} {high:,}.",
        )
    ]


def _misfits(spec: SweepSpec) -> list[Problem]:
    """Entries that are fine by themselves and not together."""
    found = []
    if spec.method == "grid":
        found += [
            Problem(f"space.{path}", "a grid needs a step or a count for this range; or choose another search.")
            for path in spec.space.endless
        ]
        if spec.trials is not None:
            found.append(
                Problem("trials", f"trials={spec.trials} has no meaning for a grid, which tries every combination.")
            )
    if found:
        return found
    runs = spec.most_trials * spec.seeds
    if runs > MOST_RUNS:
        found.append(
            Problem(
                "seeds" if spec.most_trials <= MOST_RUNS else "space",
                f"{spec.most_trials:,} combinations with {spec.seeds} seeds are {runs:,} runs: at most {MOST_RUNS:,} "
                "in one sweep.",
            )
        )
    facts = METRICS[spec.metric]
    if "data.dataset" not in spec.space.paths and (spec.metric in ("test_perplexity", "test_bits")) != (
        spec.base.data.task == "language"
    ):
        found.append(Problem("metric", f"{facts.label} is not measured on {spec.base.data.dataset}."))
    if spec.trials_drawn:
        found += _drawn_misfits(spec)
    return found


def _drawn_misfits(spec: SweepSpec) -> list[Problem]:
    """Where a drawn number of trials would promise nothing (Papernot and Steinke 2022, theorem 2: the trials are drawn
    independently of each other, and their number of everything)."""
    path = "trials_drawn"
    if spec.method != "random":
        return [
            Problem(
                path,
                f"a drawn number of trials needs method=random, whose trials do not look at results; not {spec.method}.",
            )
        ]
    if spec.prune != "none":
        return [
            Problem(
                path,
                f"a drawn number of trials needs prune=none: prune={spec.prune} ends runs by the results of others.",
            )
        ]
    if any(getattr(spec.budget, name) is not None for name in _BUDGET):
        return [
            Problem(
                path, "a drawn number of trials and a budget exclude each other: the budget would decide the number."
            )
        ]
    most = MOST_RUNS // spec.seeds // _DRAWN_BELOW
    if spec.trials > most:
        return [
            Problem(
                "trials",
                f"trials={spec.trials} is refused: a drawn number of trials has a mean of at most {most} with "
                f"{spec.seeds} seeds, "
                f"so that {MOST_RUNS:,} runs hold whatever is drawn.",
            )
        ]
    return []
