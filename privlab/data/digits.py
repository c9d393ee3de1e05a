"""The handwritten digits that come with scikit-learn, and which of them are test pictures. Torch-free."""

from __future__ import annotations

import numpy as np

#: Largest pixel value: digits are drawn in 17 greys.
WHITE = 16.0
#: Every fifth picture of each digit, counted in file order, is a test picture.
_EVERY = 5

Part = tuple[np.ndarray, np.ndarray]


def digits(classes: int = 10) -> tuple[Part, Part]:
    """Training and test part of the digits below ``classes`` (Alpaydin and Kaynak 1998, with scikit-learn).

    Returns:
        ((x, y), (x, y)): pictures (records, 64) in float64, 0…1, in rows from the top left; labels (records,) int64.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(n_class=classes, return_X_y=True)
    test = np.zeros(len(labels), dtype=bool)
    for digit in range(classes):
        test[np.flatnonzero(labels == digit)[_EVERY - 1 :: _EVERY]] = True
    # Divided by a power of two, which is exact in float32 too.
    pixels = pixels / WHITE
    return (pixels[~test], labels[~test]), (pixels[test], labels[test])
