"""Secret-shared DP-SGD on digits with three parties: time and bytes of a step, ε, and accuracy beside plain DP-SGD.

Each model is trained twice: privately, for time and ε, and with reproducible draws, where plain DP-SGD in double precision
gets the same coins and noise, so that the two accuracies differ by what fixed point and approximations do and nothing else.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmarks.common import arguments, machine, report
from privlab.encryption.shared import bridge
from privlab.encryption.shared.owner import rows_of
from privlab.encryption.shared.settings import SharedSettings
from privlab.encryption.shared.twin import Twin, initial

#: Learning rates that suit each model at ε of about 3; the targets are milliseconds a step.
SETTINGS = {
    "logistic": SharedSettings(model="logistic", learning_rate=0.25, noise_multiplier=2.0),
    "mlp": SharedSettings(model="mlp", learning_rate=0.1, noise_multiplier=2.0, weight_limit=32),
}
TARGET = {"logistic": 50, "mlp": 400}


def plain_milliseconds(settings: SharedSettings, x: np.ndarray, y: np.ndarray) -> float:
    """A step of the twin on a batch of the expected size."""
    layers = settings.layers(x.shape[1], 10)
    twin = Twin(layers, initial(layers, 0), 1e-3, settings.momentum, settings.max_grad_norm)
    rows, noise = rows_of(x, y, 10, settings.input_norm)[: settings.batch_size], np.zeros(len(twin.parameters))
    began = time.perf_counter()
    for _ in range(50):
        twin.step(rows, noise)
    return (time.perf_counter() - began) * 20


def row(name: str, steps: int) -> dict[str, Any]:
    x, y = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x / 16, y, test_size=0.2, random_state=0, stratify=y)
    owners, test = bridge.owners_of(train_x, train_y), (test_x, test_y)
    settings = replace(SETTINGS[name], steps=steps)
    private = list(bridge.train(settings, owners, test, 10))
    paired = list(bridge.train(replace(settings, randomness="reproducible"), owners, test, 10))[-1]
    milliseconds = [record.seconds * 1e3 for record in private]
    return {
        "model": name,
        "B": settings.batch_size,
        "steps": steps,
        "ms a step": statistics.median(milliseconds),
        "fastest": min(milliseconds),
        "target": TARGET[name],
        "plain ms": plain_milliseconds(settings, train_x, train_y),
        "MB a step": private[-1].bytes_sent / 1e6,
        "eps": private[-1].epsilon,
        "eps, one party": private[-1].epsilon_party,
        "accuracy": private[-1].accuracy,
        "same draws": paired.accuracy,
        "plain, same draws": paired.twin_accuracy,
        "drift": paired.drift,
    }


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--models", nargs="+", choices=sorted(SETTINGS), default=list(SETTINGS))
    given = parser.parse_args()
    ready, why = bridge.available()
    if not ready:
        print(why, file=sys.stderr)
        return 0
    where = {**machine("numpy"), "load before": os.getloadavg()[0]}
    report(given.json, "secret-shared DP-SGD, three parties", where, [row(name, given.steps) for name in given.models])
    return 0


if __name__ == "__main__":
    sys.exit(main())
