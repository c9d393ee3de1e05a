"""Made-up runs with known laws behind them, for the tests of privlab.analysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from privlab.analysis.facts import Facts, Promise
from privlab.analysis.settings import values_of
from privlab.config import RunConfig, load_preset

DIGITS, DELTA = load_preset("digits"), Promise(1e-4)


def fact(
    run_id: str,
    accuracy: float = 0.9,
    epsilon: float = 3.0,
    *,
    config: RunConfig = DIGITS,
    curve: Sequence[tuple[float, float]] = (),
    promise: Promise = DELTA,
    settings: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
    **about: Any,
) -> Facts:
    """A finished run of ``config``; ``settings`` are changed by dotted path."""
    if settings:
        config = config.replace(**{path.replace(".", "__"): value for path, value in settings.items()})
    columns = np.array(curve).T if curve else None
    return Facts(
        run_id,
        about.pop("name", ""),
        values_of(config),
        {"test_accuracy": accuracy} if metrics is None else metrics,
        epsilon,
        promise,
        noise_multiplier=about.pop("noise_multiplier", 3 / epsilon if math.isfinite(epsilon) else 0.0),
        step=about.pop("step", 10),
        steps=about.pop("steps", 10),
        curve={} if columns is None else {"epsilon": columns[0], "test_accuracy": columns[1]},
        config=config,
        **about,
    )


def repeats(
    prefix: str, values: Sequence[float], epsilon: float = 3.0, first_seed: int = 0, **about: Any
) -> list[Facts]:
    """Runs that differ in their seed alone."""
    settings = about.pop("settings", {})
    return [
        fact(f"{prefix}{seed}", value, epsilon, settings=settings | {"training.seed": seed}, **about)
        for seed, value in enumerate(values, start=first_seed)
    ]
