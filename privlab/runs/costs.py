"""What a step of given settings costs on this machine, by method: measured once and kept in PrivLab's folder.

A measurement is found again by everything that decides it: the settings that a step depends on, the threads, the machine, the
versions of the libraries and the mechanism's own source.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import privlab
from privlab import paths
from privlab.config import RunConfig
from privlab.files import replace_atomically
from privlab.metrics import SUBSET, Cost
from privlab.preflight import Preflight, method_misfit
from privlab.runs.limits import cores, threads_for

#: Every method, in the order in which they are shown; ``plain`` is SGD that neither clips nor adds noise, the floor.
METHODS = {"one-pass": "One pass", "hooks": "Hooks", "ghost": "Ghost", "plain": "Plain SGD"}
#: Settings that neither time nor memory of a step depends on, by group.
_NO_MATTER = {
    "training": ("epochs", "learning_rate", "momentum", "seed", "curve_points"),
    "privacy": (
        *("noise_multiplier", "target_epsilon", "max_grad_norm", "delta", "accountant", "adjacency", "epsilon_limit"),
        *("automatic_stability", "target_quantile", "quantile_rate", "quantile_noise", "schedule_stairs"),
        *("clip_schedule", "clip_schedule_end", "clip_schedule_custom"),
        *("noise_schedule", "noise_schedule_end", "noise_schedule_custom"),
    ),
    "performance": ("gradient_method",),
}


@dataclass(frozen=True)
class Costs:
    """What was measured for some settings.

    Attributes:
        costs: by method.
        failures: why a method could not be measured, by method, in a sentence.
        when: Unix time at which it ended.
    """

    costs: Mapping[str, Cost]
    failures: Mapping[str, str]
    when: float

    def covers(self, checked: Preflight) -> bool:
        """Whether every method that can do ``checked`` was tried; not so where a measurement was stopped."""
        return set(methods_for(checked)[0]) <= self.costs.keys() | self.failures.keys()

    def run_seconds(self, checked: Preflight, method: str | None = None) -> float | None:
        """Seconds of the whole run by ``method``, by default the one that the settings choose: its steps, and an evaluation
        at each point of the curve. None where it was not measured."""
        cost = self.costs.get(method or chosen(checked))
        if cost is None:
            return None
        points = min(checked.config.training.curve_points, checked.plan.steps)
        last = checked.dataset.test_records / min(checked.dataset.test_records, SUBSET)
        return checked.plan.steps * cost.seconds + (points - 1 + last) * cost.evaluation


def chosen(checked: Preflight) -> str:
    """The method that a run of these settings takes: ``plain`` where nothing is clipped."""
    return "plain" if checked.plan.max_grad_norm is None else checked.gradient_method


def methods_for(checked: Preflight) -> tuple[list[str], dict[str, str]]:
    """Methods to measure, the chosen one first and the floor next, and why each of the others cannot do it."""
    first = chosen(checked)
    if first == "plain":
        return ["plain"], {}
    cannot = {method: why for method in METHODS if (why := method_misfit(checked.config, method))}
    rest = [method for method in METHODS if method not in (first, "plain", *cannot)]
    return [first, "plain", *rest], cannot


def key(config: RunConfig) -> str:
    """The name under which a measurement of ``config`` on this machine is kept."""
    raw = config.to_dict()
    decides = {group: raw[group] for group in ("data", "model", "training", "privacy", "performance")}
    for group, names in _NO_MATTER.items():
        decides[group] = {name: value for name, value in decides[group].items() if name not in names}
    # Whether there is noise matters, and how much does not.
    decides["noise"] = config.privacy.noise_multiplier != 0
    decides["threads"] = threads_for(config)
    text = json.dumps([decides, _machine(), _versions()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def known(config: RunConfig) -> Costs | None:
    """What is kept of a measurement of ``config`` on this machine; None where there is nothing, or nothing readable."""
    try:
        raw = json.loads(_file(key(config)).read_text("utf-8"))
        costs = {method: Cost(**cost) for method, cost in raw["costs"].items() if method in METHODS}
        return Costs(costs, dict(raw["failures"]), float(raw["when"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(name: str, costs: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str]) -> Costs:
    """Keep what was measured under ``name``, whole or not at all. Raises OSError.

    Args:
        costs: lines of the job, by method.
    """
    wanted = {field.name for field in fields(Cost)}
    found = {method: Cost(**{k: v for k, v in cost.items() if k in wanted}) for method, cost in costs.items()}
    result = Costs(found, dict(failures), time.time())
    replace_atomically(_file(name), json.dumps(asdict(result)).encode())
    return result


def _file(name: str) -> Path:
    return paths.costs_dir() / f"{name}.json"


@functools.cache
def _machine() -> list[Any]:
    """What tells machines of different speed apart."""
    processor = platform.processor()
    with suppress(OSError, StopIteration), open("/proc/cpuinfo") as facts:
        processor = next(line for line in facts if line.startswith("model name")).split(":")[1].strip()
    drivers = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    accelerators = [line for file in drivers for line in file.read_text().splitlines() if line.startswith("Model:")]
    return [platform.machine(), processor, cores(), accelerators, os.environ.get("CUDA_VISIBLE_DEVICES")]


@functools.cache
def _versions() -> list[str]:
    """Versions of what computes a step; an edited mechanism is another one."""
    source = hashlib.sha256()
    root = Path(privlab.__file__).parent
    for file in sorted((*root.glob("dpsgd/**/*.py"), *root.glob("models/*.py"), *root.glob("training/*.py"))):
        source.update(file.read_bytes())
    return [platform.python_version(), *(version(name) for name in ("torch", "opacus", "numpy")), source.hexdigest()]
