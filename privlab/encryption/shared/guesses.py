"""First guesses of 1/x and 1/√x for numbers nobody sees: comparisons with powers of two choose a straight line.

Each stretch [2ᵏ, 2ᵏ⁺¹] has the line with the smallest largest relative error: 5.9 % for 1/x, 2.3 % for 1/√x. One Newton step
after it leaves at most 0.4 % and 0.1 % **below** the true value, because both steps, y(2 − x·y) and y(3 − x·y²)/2, have their
largest value where y is exact: whatever the guess, they never end above 1/x or 1/√x. The bound on a clipped gradient rests
on that, not on the guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Binary digits after the point of every shared number, and the least step between two of them.
FRACTION_BITS = 18
UNIT = 2.0**-FRACTION_BITS

#: Slopes smaller than this many units are applied to x·2⁻ˢ instead, s = SHIFT, or left out beyond that.
_LEAST_SLOPE, SHIFT = 24, 9


@dataclass(frozen=True, eq=False)
class Guess:
    """Lines of a first guess: y = constant + slope·x + small·(x·2⁻⁹), with coefficients chosen by comparisons.

    Attributes:
        thresholds: (stretches − 1,) ascending; x above a threshold moves on to the next line.
        first: (3,) constant, slope and small of the first stretch.
        steps: (stretches − 1, 3) what is added to the coefficients at each threshold.
    """

    thresholds: np.ndarray
    first: np.ndarray
    steps: np.ndarray

    @property
    def shifted(self) -> bool:
        """Whether any stretch uses x·2⁻⁹."""
        return bool(self.first[2] or self.steps[:, 2].any())

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The guess in the clear, for tests: x (n,) → (n,)."""
        chosen = self.first + (x[:, None] > self.thresholds) @ self.steps
        return chosen[:, 0] + chosen[:, 1] * x + chosen[:, 2] * (x * 2.0**-SHIFT)


def guess(of: Literal["reciprocal", "rsqrt"], least: float, most: float, *, flat_first: bool = False) -> Guess:
    """Lines for x from ``least`` to ``most``, both rounded outwards to powers of two.

    Args:
        flat_first: the line below ``least`` is the constant 1 (for a length that is not shortened).

    Beyond 128 a slope is too small for the grid and needs x·2⁻⁹; where a guess ends before 8192 it does without, and its last
    stretches are constants, within 42 % of the reciprocal or the root.
    """
    low, high = math.floor(math.log2(least)), math.ceil(math.log2(most))
    lines = [(1.0, 0.0, 0.0)] if flat_first else []
    lines += [_line(of, k, high > 12) for k in range(low, high)]
    coefficients = np.rint(np.array(lines) / UNIT) * UNIT
    edges = np.array([2.0**k for k in range(low if flat_first else low + 1, high)])
    return Guess(edges, coefficients[0], np.diff(coefficients, axis=0))


def _line(of: str, k: int, shifted: bool) -> tuple[float, float, float]:
    """(constant, slope, small) on [2ᵏ, 2ᵏ⁺¹], from the best line a − b·x on [1, 2]."""
    if of == "reciprocal":
        b = 2 / 4.25
        a, power, middle = 3 * b, 1.0, 1 / math.sqrt(2)
    else:
        root = math.sqrt(2)
        ratio = (2 * root - 1) / (root - 1)
        peak = math.sqrt(ratio / 3) * (ratio - ratio / 3)
        b = 2 / (ratio - 1 + peak)
        a, power, middle = ratio * b, 0.5, 2**-0.25
    constant, slope = a * 2.0 ** (-power * k), -b * 2.0 ** (-(power + 1) * k)
    if -slope >= _LEAST_SLOPE * UNIT:
        return constant, slope, 0.0
    if shifted and -slope * 2**SHIFT >= _LEAST_SLOPE * UNIT:
        return constant, 0.0, slope * 2**SHIFT
    return middle * 2.0 ** (-power * k), 0.0, 0.0
