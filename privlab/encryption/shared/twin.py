"""The plain twin: the same DP-SGD in the clear, in double precision, with exact softmax, sigmoid, ReLU and clipping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from privlab.encryption.shared.bounds import RAMP


def initial(layers: Sequence[tuple[int, int]], seed: int) -> np.ndarray:
    """Public initial parameters, float64 (d,): U(−1/√rows, 1/√rows) a layer, biases in its last row."""
    draw = np.random.default_rng(seed)
    return np.concatenate([draw.uniform(-1, 1, rows * columns) / np.sqrt(rows) for rows, columns in layers])


def split(parameters: np.ndarray, layers: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The layers of ``parameters`` (d,), each (rows, columns)."""
    edges = np.cumsum([rows * columns for rows, columns in layers])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(parameters, edges), layers, strict=True)]


def accuracy(parameters: np.ndarray, layers: Sequence[tuple[int, int]], x: np.ndarray, y: np.ndarray) -> float:
    """Share of records ``x`` (n, inputs) that ``parameters`` classify as ``y`` (n,)."""
    logits = _forward(np.c_[x, np.ones(len(x))], split(parameters, layers))[-1]
    return float(((logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)) == y).mean())


class Twin:
    """Trains on the rows that the owners draw, with one step at a time."""

    def __init__(
        self, layers: Sequence[tuple[int, int]], parameters: np.ndarray, rate: float, momentum: float, clip: float
    ):
        self.layers, self.parameters, self._velocity = tuple(layers), parameters.copy(), np.zeros_like(parameters)
        self._rate, self._momentum, self._clip = rate, momentum, clip

    def step(self, rows: np.ndarray, noise: np.ndarray) -> None:
        """One step on ``rows`` (n, columns), as :func:`privlab.encryption.shared.owner.in_plain_units` gives them, with ``noise`` (d,)
        on the sum."""
        self._velocity = self._momentum * self._velocity + self.clipped_sum(rows) + noise
        self.parameters = self.parameters - self._rate * self._velocity

    def clipped_sum(self, rows: np.ndarray) -> np.ndarray:
        """Sum of clipped gradients, float64 (d,)."""
        width = self.layers[0][0]
        x, labels = rows[:, :width], rows[:, width + 1 :]
        weights = split(self.parameters, self.layers)
        *into, logits = _forward(x, weights)
        if logits.shape[1] == 1:
            # Records of class 1 come negated, so that every record's error is σ.
            errors = [expit(logits)]
        else:
            odds = np.exp(logits - logits.max(1, keepdims=True))
            errors = [odds / odds.sum(1, keepdims=True) - labels]
        if len(weights) == 2:
            errors.insert(0, (errors[0] @ weights[1][:-1].T) * (into[1][:, :-1] > 0))
        squared = sum(np.square(a).sum(1) * np.square(e).sum(1) for a, e in zip(into, errors, strict=True))
        factor = self._clip / np.maximum(np.sqrt(squared), self._clip)
        return np.concatenate([(a.T @ (factor[:, None] * e)).ravel() for a, e in zip(into, errors, strict=True)])


class RampTwin(Twin):
    """What the parties compute of "binary", in double precision: the straight line for the sigmoid, the owner's limit for clipping."""

    def clipped_sum(self, rows: np.ndarray) -> np.ndarray:
        records, largest = rows[:, :-1], rows[:, -1]
        return np.clip(0.5 + records @ self.parameters / (2 * RAMP), 0, largest) @ records


def _forward(x: np.ndarray, weights: list[np.ndarray]) -> list[np.ndarray]:
    """What goes into each layer, and the logits."""
    if len(weights) == 1:
        return [x, x @ weights[0]]
    hidden = np.c_[np.maximum(x @ weights[0], 0), x[:, -1]]
    return [x, hidden, hidden @ weights[1]]
