"""The records of encrypted training: two classes, ‖x‖ = 1, prepared by constants and record by record, so that it costs no ε."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privlab.data.digits import digits
from privlab.encryption.fully.arithmetic import FullyError

#: Round numbers near the upper end of each measurement of “Breast Cancer Wisconsin (Diagnostic)”, whose ranges its documentation
#: prints: ten measurements' means, their standard errors, their worst values. Taken as known.
_UPPER = np.array(
    [
        *(30, 40, 200, 2500, 0.2, 0.4, 0.5, 0.25, 0.4, 0.1),
        *(3, 5, 25, 550, 0.04, 0.15, 0.4, 0.06, 0.08, 0.03),
        *(40, 50, 260, 4300, 0.25, 1.1, 1.3, 0.3, 0.7, 0.21),
    ]
)
_MIDDLE = 0.35
#: The left corners of an 8×8 picture, left out: digits are not written there, and 62 pixels and a constant fill the ciphertext well.
_CORNERS = (0, 56)

_SHOES = (7, 9)
_FROZEN_UNITS = 62
_PIXELS = 28 * 28
#: A middling grey, subtracted from every pixel.
_GREY = 0.3


@dataclass(frozen=True, eq=False)
class Records:
    """Attributes: train_x, test_x (records, inputs), rows of norm 1 whose last input is the constant; train_y, test_y −1 or 1;
    labels: names of −1 and 1."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    labels: tuple[str, str]


def breast_cancer() -> Records:
    """569 tumours with 30 measurements (Wolberg, Street, Mangasarian 1995, with scikit-learn): 455 × 31, every fifth is a test record."""
    from sklearn.datasets import load_breast_cancer

    measured, benign = load_breast_cancer(return_X_y=True)
    test = np.arange(len(measured)) % 5 == 0
    return _records((measured / _UPPER - _MIDDLE) * 2, benign, test, ("malignant", "benign"))


def digits01() -> Records:
    """Handwritten zeros and ones, 8×8 (Alpaydin and Kaynak 1998, with scikit-learn): 289 × 63, every fifth of each is a test picture."""
    (train_x, train_y), (test_x, test_y) = digits(classes=2)
    x, digit = np.concatenate([train_x, test_x]), np.concatenate([train_y, test_y])
    test = np.arange(len(x)) >= len(train_x)
    return _records(np.delete(x, _CORNERS, axis=1), digit, test, ("0", "1"))


def fashion_shoes() -> Records:
    """Sneakers and ankle boots of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), the *last layer* of a network whose first is frozen: 62 ReLU
    units with random weights that no record has touched. 1000 × 63, and the 200 test pictures that the data set names."""
    from privlab.data.fetch import EMBEDDED, read

    pictures = read(EMBEDDED / "fashion-mnist-6k.npz")
    # A stream that NumPy promises never to change.
    frozen = np.random.RandomState(0).normal(size=(_PIXELS, _FROZEN_UNITS)) / np.sqrt(_PIXELS)
    x, labels = [], []
    for part in ("train", "test"):
        kept = np.isin(pictures[f"{part}_y"], _SHOES)
        grey = pictures[f"{part}_x"][kept].reshape(-1, _PIXELS) / 255
        x.append(np.maximum((grey - _GREY) @ frozen, 0))
        labels.append(pictures[f"{part}_y"][kept] == _SHOES[1])
    test = np.arange(sum(map(len, x))) >= len(x[0])
    return _records(np.concatenate(x), np.concatenate(labels), test, ("sneaker", "ankle boot"))


DATASETS = {"breast-cancer": breast_cancer, "digits01": digits01, "fashion-shoes": fashion_shoes}


def load(name: str) -> Records:
    """Raises FullyError for an unknown name."""
    if name not in DATASETS:
        raise FullyError(f"dataset={name!r} is unknown; choose one of {', '.join(DATASETS)}.")
    return DATASETS[name]()


def _records(inputs: np.ndarray, positive: np.ndarray, test: np.ndarray, labels: tuple[str, str]) -> Records:
    x = np.column_stack([inputs, np.ones(len(inputs))])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.where(positive, 1.0, -1.0)
    return Records(x[~test], y[~test], x[test], y[test], labels)
