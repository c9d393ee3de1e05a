"""The Compare page over 1,000 runs of 1,000 points: first paint, time of a filter and of a selection (p95), memory of the server.

Settings and ε are real ones, computed as for any run; the metrics are **made up** by a formula, so that no training is needed, and
every run's name says so. The store is a temporary folder of this script's own, never a person's. Making it takes a minute or
two; ``--home FOLDER`` keeps it, or uses one that is there. ``--json`` prints one object.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from privlab.config import RunConfig
from privlab.metrics import Point
from privlab.preflight import preflight
from privlab.privacy import PrivacyPlan, epsilon_curve
from privlab.runs.record import Status
from privlab.runs.store import Store

#: Data set, model, batch size, epochs (for 1,000 steps and more), δ, and what the formula gives without noise.
_TASKS = (
    ("digits", "mlp", 256, 200, 1e-4, 0.97),
    ("digits", "logistic", 256, 200, 1e-4, 0.95),
    ("adult", "mlp", 512, 20, 1e-5, 0.85),
    ("adult", "logistic", 512, 20, 1e-5, 0.84),
    ("fashion-mnist", "cnn", 1024, 20, 1e-5, 0.90),
    ("fashion-mnist", "mlp", 1024, 20, 1e-5, 0.87),
)
_NOISE = (0.8, 1.0, 1.3, 1.8, 2.5, 4.0)
_NORMS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_SEEDS = range(4)


def configs() -> Iterator[tuple[RunConfig, float]]:
    """Settings, and the accuracy that the formula ends at without noise; 1,008 of them."""
    for task, sigma, norm, seed in itertools.product(_TASKS, _NOISE, _NORMS, _SEEDS):
        dataset, model, batch, epochs, delta, best = task
        raw = {
            "name": f"synthetic {dataset} {model} σ{sigma:g} C{norm:g}",
            "data": {"dataset": dataset},
            "model": {"name": model},
            "privacy": {"noise_multiplier": sigma, "max_grad_norm": norm, "delta": delta},
            "training": {"batch_size": batch, "epochs": epochs, "seed": seed},
        }
        yield RunConfig.from_dict(raw), best


def fill(store: Store, runs: int, points: int) -> None:
    """Finished runs with their points, through the store's own interface."""
    curves: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}
    random = np.random.default_rng(0)
    for number, (config, best) in enumerate(itertools.islice(configs(), runs)):
        plan = preflight(config).plan
        key = (config.data.dataset, plan.noise_multiplier, plan.steps)
        if key not in curves:
            steps = np.unique(np.linspace(1, plan.steps, min(points, plan.steps)).astype(int))
            curves[key] = steps, epsilon_curve(plan, steps.tolist())
        run = store.create(config, plan, status=Status.STARTING)
        store.move(run.id, Status.RUNNING)
        store.append_all(run.id, list(_points(plan, *curves[key], best, random)))
        store.move(run.id, Status.FINISHED)
        if number % 50 == 49:
            print(f"  {number + 1} runs made", flush=True)


def _points(plan: PrivacyPlan, steps: np.ndarray, epsilons: np.ndarray, best: float, random) -> Iterator[Point]:
    lost = 0.03 * plan.noise_multiplier + 0.02 * abs(math.log(plan.max_grad_norm / 0.3)) + random.normal(0, 0.006)
    shape = 1 - 0.8 * np.exp(-6 * steps / plan.steps)
    accuracy = np.clip((best - lost) * shape + random.normal(0, 0.004, len(steps)), 0, 1)
    for step, epsilon, value in zip(steps.tolist(), epsilons.tolist(), accuracy.tolist(), strict=True):
        metrics = {"test_accuracy": value, "test_loss": 1.2 - value, "clipped_share": 0.5}
        yield Point(step, step * plan.sample_rate, step / 80, epsilon, metrics)
