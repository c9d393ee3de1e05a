"""Secret-shared DP-SGD with three parties: time, bytes and messages of a step, ε, and accuracy beside plain DP-SGD.

Each model is trained twice: privately, for time and ε, and with reproducible draws, where plain DP-SGD in double precision
gets the same coins and noise, so that the two accuracies differ by what fixed point and approximations do and nothing else. Rows of the same 1442 pictures and
places, odd or even and ten digits, tell what ten classes cost.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.common import arguments, machine, report
from privlab.encryption.shared.accounting import guarantee
from privlab.encryption.shared.datasets import DATASETS, owners_of
from privlab.encryption.shared.environment import available
from privlab.encryption.shared.owner import in_plain_units, rows_for
from privlab.encryption.shared.settings import PARTIES, SharedSettings
from privlab.encryption.shared.train import shape_of, train
from privlab.encryption.shared.twin import Twin, initial

#: Data and settings of each row; learning rates suit the model. Targets are milliseconds a step.
SETTINGS = {
    "binary": ("odd-digits", SharedSettings(model="binary", learning_rate=0.25, noise_multiplier=2.0), 50),
    "binary, breast cancer": (
        "breast-cancer",
        SharedSettings(model="binary", learning_rate=0.25, noise_multiplier=2.0, batch_size=64),
        50,
    ),
    "logistic": ("digits", SharedSettings(model="logistic", learning_rate=0.25, noise_multiplier=2.0), None),
    "mlp": ("digits", SharedSettings(model="mlp", learning_rate=0.1, noise_multiplier=2.0, weight_limit=32), 400),
}


def plain_milliseconds(settings: SharedSettings, x: np.ndarray, y: np.ndarray, classes: int) -> float:
    """A step of the twin on a batch of the expected size."""
    promise = guarantee(settings, [len(y)] * PARTIES, x.shape[1], classes)
    shape = shape_of(settings, promise, x.shape[1], classes)
    twin = Twin(shape.layers, initial(shape.layers, 0), 1e-3, settings.momentum, settings.max_grad_norm)
    rows = in_plain_units(shape, rows_for(shape, x, y, settings.input_norm)[: settings.batch_size])
    noise = np.zeros(shape.dimension)
    began = time.perf_counter()
    for _ in range(50):
        twin.step(rows, noise)
    return (time.perf_counter() - began) * 20


def row(name: str, steps: int) -> dict[str, Any]:
    dataset, settings, target = SETTINGS[name]
    records, settings = DATASETS[dataset](), replace(settings, steps=steps)
    owners, test, classes = owners_of(*records.train), records.test, records.classes
    load = os.getloadavg()[0]
    private = list(train(settings, owners, test, classes))
    paired = list(train(replace(settings, randomness="reproducible"), owners, test, classes))[-1]
    milliseconds = [record.seconds * 1e3 for record in private]
    return {
        "model": name,
        "records": len(records.train[1]),
        "B": settings.batch_size,
        "steps": steps,
        "ms a step": statistics.median(milliseconds),
        "fastest": min(milliseconds),
        "target": target,
        "plain ms": plain_milliseconds(settings, *records.train, classes),
        "load": load,
        "messages": private[-1].messages,
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
    ready, why = available()
    if not ready:
        print(why, file=sys.stderr)
        return 0
    where = {**machine("numpy"), "load before": os.getloadavg()[0]}
    report(given.json, "secret-shared DP-SGD, three parties", where, [row(name, given.steps) for name in given.models])
    return 0


if __name__ == "__main__":
    sys.exit(main())
