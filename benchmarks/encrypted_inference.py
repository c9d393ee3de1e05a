"""Classification of encrypted records: time by phase, bytes, and how often the class is the plain model's.

Models are trained here first: ``logistic`` and ``mlp`` with differential privacy by the settings of the preset “digits”, and a
784-64-10 network with a square for an activation by plain gradient descent. The owner's and the server's processes answer one record
after the other (``privlab.encryption.inference``); records are test records that the polynomials were not fitted to. “polynomial alone”
counts, without encryption, how many training records keep their class when tanh is the polynomial.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import arguments, machine, report, spread
from privlab.config import load_preset
from privlab.data.load import load
from privlab.encryption.inference.layers import Layer, layers_of, plain_logits
from privlab.encryption.inference.polynomial import fit_tanh
from privlab.encryption.inference.service import Classification
from privlab.training.train import train

#: Data set, model and epochs of the private runs.
RUNS = (
    ("digits", "logistic", 60),
    ("fashion-mnist-6k", "logistic", 20),
    ("digits", "mlp", 150),
    ("fashion-mnist-6k", "mlp", 30),
)


def private_model(dataset: str, model: str, epochs: int) -> tuple[list[Layer], str | None]:
    config = load_preset("digits").replace(data__dataset=dataset, model__name=model, training__epochs=epochs)
    kept = []
    for _ in train(config, save=kept.append):
        del kept[:-1]
    return layers_of({name: weight.numpy() for name, weight in kept[-1].weights.items()})


def square_model(x: np.ndarray, y: np.ndarray) -> list[Layer]:
    """784-64-10 with squares between, by 15 epochs of stochastic gradient descent."""
    rng, targets = np.random.default_rng(0), np.eye(10)[y]
    a, b = rng.normal(size=(64, x.shape[1])) * 0.03, np.zeros(64)
    c, d = rng.normal(size=(10, 64)) * 0.1, np.zeros(10)
    for _ in range(15):
        for batch in np.array_split(rng.permutation(len(x)), len(x) // 50):
            z = x[batch] @ a.T + b
            logits = z * z @ c.T + d
            chances = np.exp(logits - logits.max(axis=1, keepdims=True))
            slope = (chances / chances.sum(axis=1, keepdims=True) - targets[batch]) / len(batch)
            back = slope @ c * 2 * z
            c, d = c - 0.02 * slope.T @ (z * z), d - 0.02 * slope.sum(axis=0)
            a, b = a - 0.02 * back.T @ x[batch], b - 0.02 * back.sum(axis=0)
    return [(a, b), (c, d)]


def alone(layers: list[Layer], calibration: np.ndarray, x: np.ndarray) -> str:
    """How many records ``x`` keep their class when tanh is the polynomial that was fitted to ``calibration``."""
    (first, bias), (last, last_bias) = layers
    middle, half, powers = fit_tanh(calibration @ first.T + bias, len(bias), last)
    t = (x @ first.T + bias - middle) / half
    logits = sum(powers[:, k] * t**k for k in range(powers.shape[1])) @ last.T + last_bias
    kept = logits.argmax(axis=1) == plain_logits(layers, "tanh", x).argmax(axis=1)
    return f"{kept.sum()} of {len(x)}"


def row(
    name: str,
    layers: list[Layer],
    activation: str | None,
    x: np.ndarray,
    y: np.ndarray,
    others: np.ndarray,
    count: int,
) -> dict[str, Any]:
    began = time.perf_counter()
    model = Classification(layers, activation, x[count:] if activation == "tanh" else None)
    started = time.perf_counter() - began
    try:
        model.classify(x[0])  # encodes the weights
        begin = _processor(model)
        answers = [model.classify(record) for record in x[:count]]
        processor = (_processor(model) - begin) / count
    finally:
        model.close()
    phases = {phase: spread(a.seconds[phase] for a in answers) for phase in answers[0].seconds}
    whole = spread(sum(a.seconds.values()) for a in answers)
    return {
        "model": name,
        "layers": "-".join(str(size) for size in (layers[0][0].shape[1], *(len(bias) for _, bias in layers))),
        "activation": activation or "none",
        "whole ms": 1e3 * whole["median"],
        "fastest ms": 1e3 * whole["min"],
        "processor ms": 1e3 * processor,
        **{f"{phase} ms": 1e3 * taken["median"] for phase, taken in phases.items()},
        "same class": f"{sum(a.agrees for a in answers)} of {count}",
        "polynomial alone": alone(layers, x[count:], others) if activation == "tanh" else "",
        "largest error": max(a.error for a in answers),
        "accuracy %": 100 * float(np.mean([a.label == label for a, label in zip(answers, y, strict=False)])),
        "up kB": answers[-1].bytes_up / 1e3,
        "down kB": answers[-1].bytes_down / 1e3,
        "keys MB": model.keys_bytes / 1e6,
        "start s": started,
    }


def _processor(model: Classification) -> float:
    """Processor seconds that the two helper processes have used, from Linux's /proc."""
    ticks = 0
    for child in (model._server, model._owner):
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=200)
    given = parser.parse_args()
    rows = []
    for dataset, model, epochs in RUNS:
        data = load(dataset)
        x, y = data.test_x.numpy().reshape(len(data.test_y), -1).astype(np.float64), data.test_y.numpy()
        # The first records of some data sets are all of one class.
        order = np.random.default_rng(0).permutation(len(x))
        x, y = x[order], y[order]
        others = data.train_x.numpy().reshape(len(data.train_y), -1).astype(np.float64)
        layers, activation = private_model(dataset, model, epochs)
        rows.append(row(f"{model}, {dataset}", layers, activation, x, y, others, given.records))
    trained = square_model(others, data.train_y.numpy())
    rows.append(row(f"square, {dataset}", trained, "square", x, y, others, given.records))
    report(given.json, "Classification of encrypted records", machine("tenseal", "numpy"), rows)


if __name__ == "__main__":
    main()
