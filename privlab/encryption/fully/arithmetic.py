"""The training that is done on ciphertext, in plain numbers: logistic regression by full-batch gradient steps with bounded gradients.

Labels y are ±1 and v = y·x. A record's loss log(1 + e^−w·v) has the gradient −v·σ(−w·v). On ciphertext σ is a cubic,

    σ(t) ≈ s(t) = ½ + c₁·t − c₃·t³,  c₁ = 0.15012, c₃ = 0.001593,

the least-squares fit on −8…8 of Kim, Song, Wang, Xia, Jiang 2018 ("Secure logistic regression based on homomorphic encryption",
section 4.1). Nothing has to be clipped: ‖x‖ ≤ 1 is prepared by whoever has the records, ‖w‖ ≤ 8 by whoever decrypts w after each step,
so |t| ≤ 8, s lies in [1 − M, M] with M = ½ + ⅔·c₁·√(c₁/3c₃) ≈ 1.0609, and no record's gradient is longer than M.
"""

from __future__ import annotations

import math

import numpy as np

C1, C3 = 0.15012, 0.001593
#: Largest ‖w‖ during training, and the end of the cubic's range.
MOST_NORM = 8.0
#: M, the largest norm of a record's gradient.
GRADIENT_BOUND = 0.5 + 2 / 3 * C1 * math.sqrt(C1 / (3 * C3))
#: Rounding of ‖x‖ that is let through.
_ROUNDING = 1e-12


class FullyError(Exception):
    """Settings or records that encrypted training cannot take, or a message that was refused, in plain words."""


def check_records(x: np.ndarray, y: np.ndarray) -> None:
    """Refuse records that would break the bound on the gradients.

    Args:
        x: (records, inputs), each ‖x‖ ≤ 1.
        y: (records,), each −1 or 1.

    Raises:
        FullyError: naming the record and the value.
    """
    if x.ndim != 2 or y.shape != (len(x),) or not len(x):
        raise FullyError(f"Records of shape {x.shape} and labels of shape {y.shape} do not belong together.")
    norms = np.linalg.norm(x, axis=1)
    wrong = np.flatnonzero(~(norms <= 1 + _ROUNDING))
    if len(wrong):
        raise FullyError(
            f"Record {wrong[0]} has the norm {norms[wrong[0]]:g}; at most 1 is allowed, for the guarantee counts on it."
        )
    wrong = np.flatnonzero(np.abs(y) != 1)
    if len(wrong):
        raise FullyError(f"Label {wrong[0]} is {y[wrong[0]]:g}; labels are −1 and 1.")


def gradient_sum(v: np.ndarray, w: np.ndarray) -> np.ndarray:
    """−Σ of the records' gradients, (inputs,): what a step adds, before it is scaled by learning rate over records.

    Args:
        v: y·x, (records, inputs).
        w: weights (inputs,).
    """
    z = v @ w
    return (0.5 - C1 * z + C3 * z**3) @ v


def projected(w: np.ndarray) -> np.ndarray:
    """``w`` brought back to ‖w‖ ≤ 8 where it is longer."""
    norm = np.linalg.norm(w)
    return w if norm <= MOST_NORM else w * (MOST_NORM / norm)


def accuracy(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Share of records on the right side, 0…1."""
    return float(np.mean((x @ w > 0) == (y > 0)))


class Momentum:
    """Heavy-ball steps (Polyak 1964) made from the weights alone, by whoever decrypts them: post-processing, which costs no ε.

    Args:
        momentum: β in [0, 1); 0 leaves each step as it is.
    """

    def __init__(self, momentum: float, start: np.ndarray):
        self._momentum, self._velocity = momentum, np.zeros_like(start)
        self.weights = start

    def take(self, stepped: np.ndarray) -> np.ndarray:
        """The next weights after the step from :attr:`weights` to ``stepped``."""
        self._velocity = self._momentum * self._velocity + (stepped - self.weights)
        self.weights = projected(self.weights + self._velocity)
        return self.weights
