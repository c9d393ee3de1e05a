"""How a matrix–vector product is laid out in the slots of a ciphertext. Pure NumPy: what SEAL then does is add, multiply, rotate.

The method of diagonals (Halevi and Shoup 2014, "Algorithms in HElib") in the hybrid form of GAZELLE (Juvekar, Vaikuntanathan,
Chandrakasan 2018, section 4.2): slot s works for row s mod m, so m shifts of the input instead of one a column are enough, and the
slots of one row are added up in the end by rotations. Of m shifts, those by multiples of g are made on the results instead of the
inputs ("baby steps, giant steps"), so that 2·√m rotations do. The sender of the first input writes it several times, each
shifted further, so that one multiplication serves several shifts: with S slots and n inputs S/n times fewer rotations.
Every slot holds a result in the end, and nothing else: whoever decrypts sees results and no part of a sum.

In a *paired* layout a slot holds two inputs as one complex number, x + iy, and is multiplied with (u − iv)/2, whose real part is half of
ux + vy; adding the complex conjugate doubles that and takes the imaginary part away. Half the columns are left. And the sender makes
the baby steps itself: it sends one ciphertext a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np


def power_of_two(least: int) -> int:
    """The smallest power of two that is at least ``least``."""
    return 1 << max(0, least - 1).bit_length()


@dataclass(frozen=True)
class Layout:
    """Where the inputs of one product stand, and which rotations it takes.

    Attributes:
        outputs, inputs: rows and columns of the matrix.
        slots: S, a power of two.
        rows: m, ``outputs`` rounded up to a power of two; the result has period m.
        period: slots after which the input begins again.
        written: whether the sender wrote shifted copies (:func:`first_layout`), or the input is the periodic result of another
            product (:func:`next_layout`).
        paired: whether the sender writes two inputs a slot and makes the baby steps.
    """

    outputs: int
    inputs: int
    slots: int
    rows: int
    period: int
    written: bool
    paired: bool = False

    @property
    def columns(self) -> int:
        """Slots that the inputs fill."""
        return -(-self.inputs // 2) if self.paired else self.inputs

    @property
    def messages(self) -> int:
        """Ciphertexts that the sender makes of one input."""
        return self.babies if self.paired else 1

    @property
    def shifts(self) -> int:
        """Shifts of the input that have to be made by rotation."""
        return -(-self.rows // (self.slots // self.period)) if self.written else self.rows

    @property
    def babies(self) -> int:
        """Shifts that are made on the input; a power of two."""
        return power_of_two(isqrt(self.shifts)) if self.shifts > 1 else 1

    @property
    def giants(self) -> int:
        return -(-self.shifts // self.babies)

    @property
    def folds(self) -> tuple[int, ...]:
        """Rotations that add up the slots of one row, in order."""
        last = self.slots if self.written else self.period
        found, step = [], self.rows
        while step < last:
            found.append(step)
            step *= 2
        return tuple(found)

    @property
    def rotations(self) -> set[int]:
        """All rotations to the left that the product takes."""
        babies = set() if self.paired else set(range(1, self.babies))
        giants = {giant * self.babies for giant in range(1, self.giants)}
        return babies | giants | set(self.folds)

    def write(self, values: np.ndarray) -> np.ndarray:
        """The slots (messages, S) of a first input ``values`` (inputs,): shifted copies, zeros between. Complex where paired."""
        copies = self.slots // self.period
        if self.paired:
            values = self._folded(values)
        long = np.zeros(self.period + copies * self.shifts, dtype=values.dtype)
        long[self.rows - 1 : self.rows - 1 + self.columns] = values
        whole = np.concatenate([long[copy * self.shifts :][: self.period] for copy in range(copies)])
        return np.stack([np.roll(whole, -baby) for baby in range(self.messages)])

    def _folded(self, values: np.ndarray) -> np.ndarray:
        """Two halves of the last axis as real and imaginary part, (…, columns)."""
        second = np.zeros((*np.shape(values)[:-1], self.columns))
        second[..., : self.inputs - self.columns] = values[..., self.columns :]
        return values[..., : self.columns] + 1j * second

    def weights(self, matrix: np.ndarray) -> np.ndarray:
        """What each shifted input is multiplied with, (giants, babies, S); the giants' rotation is undone in it. Complex where
        paired."""
        if self.paired:
            matrix = self._folded(matrix).conj() / 2
        slot = np.arange(self.slots)
        row, place = slot % self.rows, slot % self.period
        padded = np.zeros((self.rows, self.columns), dtype=matrix.dtype)
        padded[: self.outputs] = matrix
        out = np.zeros((self.giants, self.babies, self.slots), dtype=matrix.dtype)
        for giant in range(self.giants):
            for baby in range(self.babies):
                shift = giant * self.babies + baby
                if shift >= self.shifts:
                    continue
                if self.written:
                    diagonal = shift + slot // self.period * self.shifts
                    column = place + diagonal - (self.rows - 1)
                    used = (diagonal < self.rows) & (column >= 0) & (column < self.columns)
                else:
                    column = (place + shift) % self.period
                    used = column < self.columns
                values = np.zeros(self.slots, dtype=matrix.dtype)
                values[used] = padded[row[used], column[used]]
                out[giant, baby] = np.roll(values, giant * self.babies)
        return out

    def tiled(self, values: np.ndarray) -> np.ndarray:
        """``values`` (outputs,) in every slot (S,) whose row it is, as the product's result stands."""
        padded = np.zeros(self.rows)
        padded[: self.outputs] = values
        return np.tile(padded, self.slots // self.rows)


def first_layout(outputs: int, inputs: int, slots: int, *, paired: bool = False) -> Layout:
    """For an input that a sender writes.

    Raises:
        ValueError: more inputs and outputs than there are slots.
    """
    rows = power_of_two(outputs)
    columns = -(-inputs // 2) if paired else inputs
    # At least twice, so that every result stands in more than one place.
    period = max(power_of_two(columns + rows - 1), 2 * rows)
    if period > slots:
        raise ValueError(f"{inputs} inputs and {outputs} outputs need {period} slots; a ciphertext has {slots}.")
    return Layout(outputs, inputs, slots, rows, period, True, paired)


def next_layout(outputs: int, before: Layout) -> Layout:
    """For an input that is the result of the product laid out as ``before``."""
    rows = power_of_two(outputs)
    return Layout(outputs, before.outputs, before.slots, rows, max(rows, before.rows), False)
