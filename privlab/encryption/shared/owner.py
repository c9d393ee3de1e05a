"""One owner's part of a step: which of its records take part, padded so that nobody can count them, and its noise."""

from __future__ import annotations

import numpy as np

from privlab.encryption.shared.guesses import UNIT
from privlab.encryption.shared.noise import grid_noise, random_words
from privlab.encryption.shared.program import Shape


class Owner:
    """Draws an owner's blocks and noise, from the operating system unless ``generator`` is given.

    Args:
        rows: its records as :func:`rows_for` makes them, float64 (n, columns).
        rate: q, chance of each record to take part in a step.
        slots: rows of a block; of a larger batch the rest is left out, which the guarantee's δ covers.
        deviation: of the noise on each number of the sum.
        dimension: d, numbers of the sum.
    """

    def __init__(
        self,
        rows: np.ndarray,
        *,
        rate: float,
        slots: int,
        deviation: float,
        dimension: int,
        generator: np.random.Generator | None = None,
    ):
        self._rows = rows
        # A chance of 2⁶⁴/2⁶⁴ does not fit a word, and is always.
        self._threshold = None if rate >= 1 else np.uint64(int(rate * 2.0**64))
        self._slots, self._deviation, self._dimension, self._generator = slots, deviation, dimension, generator

    def block(self) -> np.ndarray:
        """One step's rows in random places, zeros elsewhere, float64 (slots, columns).

        The places are uniform and do not depend on the other records, so that leaving one record out moves no other: the
        rounding of the others is then the same, which the bound on the sensitivity uses.
        """
        count = len(self._rows)
        if self._threshold is None:
            chosen = np.arange(count)
        else:
            chosen = np.flatnonzero(random_words(count, self._generator) < self._threshold)
        places = np.argsort(random_words(self._slots, self._generator))
        chosen = chosen[: self._slots]
        block = np.zeros((self._slots, self._rows.shape[1]))
        block[places[: len(chosen)]] = self._rows[chosen]
        return block

    def noise(self) -> np.ndarray:
        """One step's noise, float64 (d,), on the grid."""
        return grid_noise(self._dimension, self._deviation, self._generator)


def rows_for(shape: Shape, x: np.ndarray, y: np.ndarray, input_norm: float) -> np.ndarray:
    """An owner's records as the compiled step wants them, float64 (n, shape.columns)."""
    if shape.binary:
        return signed_rows_of(shape, x, y, input_norm)
    return rows_of(x, y, shape.classes, input_norm)


def signed_rows_of(shape: Shape, x: np.ndarray, y: np.ndarray, input_norm: float) -> np.ndarray:
    """Records of two classes as rows of a block, on the grid: a = (record, 1), negated where y is 1, and its largest error.

    The gradient of either class is then σ(a·w)·a, as σ(z) − 1 = −σ(−z). Both columns are in the parties' units: a is ``scales.record``
    times as long, and the largest error is the smaller one of where the line ends and of C in the sum's unit over ‖a‖,
    rounded so that times ‖a‖ it is never above C. Float64 (n, inputs + 2).
    """
    rows = rows_of(x, y, 2, input_norm)[:, : shape.inputs + 1]
    rows = np.trunc(rows * shape.scales.record / UNIT) * UNIT
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # Double precision must not lift the quotient onto the next number of the grid.
    largest = np.minimum(2 * shape.ramp, shape.scales.sum * shape.clip / norms * (1 - 2.0**-40))
    sign = np.where(np.asarray(y)[:, None] == 1, -1.0, 1.0)
    return np.concatenate([sign * rows, np.floor(largest / UNIT) * UNIT], 1)


def in_plain_units(shape: Shape, rows: np.ndarray) -> np.ndarray:
    """``rows`` of a block as the twins take them: for two classes, records of their true length and errors up to 1."""
    if not shape.binary:
        return rows
    record = shape.scales.record
    return np.concatenate([rows[:, :-1] / record, rows[:, -1:] * (record / shape.scales.sum)], 1)


def rows_of(x: np.ndarray, y: np.ndarray, classes: int, input_norm: float) -> np.ndarray:
    """Records as rows of a block, on the grid: the record, 1 (mask and bias), its squared norm + 1, its label as one hot.

    Float64 (n, inputs + 2 + classes). The norm is rounded up, the record towards 0.
    """
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    scaled = x * np.minimum(1.0, input_norm / np.maximum(norms, UNIT))
    scaled = np.trunc(scaled / UNIT) * UNIT
    squared = np.ceil((np.square(scaled).sum(1, keepdims=True) + 1) / UNIT) * UNIT
    return np.concatenate([scaled, np.ones_like(squared), squared, np.eye(classes)[np.asarray(y, dtype=np.int64)]], 1)
