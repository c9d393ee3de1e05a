"""The records of secret-shared training, prepared by constants and record by record, so that it costs no ε. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from privlab.data.digits import digits
from privlab.encryption.fully.datasets import breast_cancer as measured
from privlab.encryption.shared.settings import PARTIES


@dataclass(frozen=True, eq=False)
class Records:
    """Attributes: train, test (float64 (n, inputs), int64 labels (n,)); classes; batch_size: B that suits their number."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    classes: int
    batch_size: int


def ten_digits() -> Records:
    """Handwritten digits (Alpaydin and Kaynak 1998, with scikit-learn): 1442 × 64, every fifth of each digit is a test picture."""
    train, test = digits()
    return Records(train, test, 10, 128)


def odd_digits() -> Records:
    """The same pictures; is the digit odd? No straight line tells this well."""
    (x, y), (test_x, test_y) = digits()
    return Records((x, y % 2), (test_x, test_y % 2), 2, 128)


def breast_cancer() -> Records:
    """Tumours with 30 measurements, each in its own round units (:func:`privlab.encryption.fully.datasets.breast_cancer`): 455 × 30."""
    given = measured()
    # Rows come with norm 1; their constant is what they were divided by.
    train, test = (rows[:, :-1] / rows[:, -1:] for rows in (given.train_x, given.test_x))
    return Records((train, _labels(given.train_y)), (test, _labels(given.test_y)), 2, 64)


def owners_of(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Records dealt to three owners in turn."""
    return [(x[index::PARTIES], y[index::PARTIES]) for index in range(PARTIES)]


DATASETS: dict[str, Callable[[], Records]] = {
    "digits": ten_digits,
    "odd-digits": odd_digits,
    "breast-cancer": breast_cancer,
}


def _labels(signs: np.ndarray) -> np.ndarray:
    return (signs > 0).astype(np.int64)
