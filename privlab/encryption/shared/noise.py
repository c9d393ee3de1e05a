"""One party's noise: whole multiples of 2⁻¹⁸ from the operating system's generator.

K = rint(s·X / u) with X = √(−2 ln U)·cos 2πV (Box and Muller 1958). U carries 128 random bits in extended precision, so it is
as fine near 0 as anywhere; X is within ``_ERROR`` of the exact value, up to the largest X there is, √(256 ln 2) < 14.
K differs from the exact rounding only where X lies that close to the edge of a cell of width u/s, so each K has the exact
probability but for the share η = 2·(14·_ERROR)·(s/u)·1.01 (the density varies by less than a hundredth over a cell).
"""

from __future__ import annotations

import math
import os

import numpy as np

from privlab.encryption.shared.guesses import UNIT
from privlab.encryption.shared.settings import SharedError

#: Error of X as a share of √(−2 ln U), at most: eight steps of the last place of the extended type.
_ERROR = 8.0 * float(np.finfo(np.longdouble).eps)
_MOST = 14.0
#: Fewest units in a deviation: the sum of rounded noises is a rounded sum only where the grid is fine beside it.
LEAST_UNITS = 1024
#: Deviations beyond which an output is not claimed; P(|X| > 12) < 4e-33.
CLAIMED = 12.0


def relative_error(deviation: float) -> float:
    """η: how far a K's probability may be from the exact one, as a share.

    Raises:
        SharedError: the grid is too coarse for ``deviation``.
    """
    if deviation / UNIT < LEAST_UNITS:
        raise SharedError(
            f"a party's noise of {deviation:.3g} is below {LEAST_UNITS * UNIT:.3g}, too small for the grid."
        )
    return 2 * _MOST * _ERROR * (deviation / UNIT) * 1.01


def tail(draws: int) -> float:
    """Chance that one of ``draws`` noises is beyond 12 deviations."""
    return draws * math.erfc(CLAIMED / math.sqrt(2))


def grid_noise(count: int, deviation: float, generator: np.random.Generator | None = None) -> np.ndarray:
    """``count`` noises of standard deviation ``deviation``, float64 (count,), each a whole multiple of 2⁻¹⁸.

    Args:
        generator: for reproducible runs, which guarantee nothing; else the operating system's.
    """
    words = random_words(3 * count, generator).reshape(3, count)
    scale = np.longdouble(2.0**-64)
    u = (words[0].astype(np.longdouble) + (words[1].astype(np.longdouble) + np.longdouble(0.5)) * scale) * scale
    angle = words[2].astype(np.longdouble) * scale * (2 * np.longdouble(np.pi))
    x = np.sqrt(-2 * np.log(u)) * np.cos(angle)
    return np.rint(x * np.longdouble(deviation / UNIT)).astype(np.float64) * UNIT


def random_words(count: int, generator: np.random.Generator | None = None) -> np.ndarray:
    """uint64 (count,) from the operating system, or from ``generator``."""
    data = os.urandom(8 * count) if generator is None else generator.bytes(8 * count)
    return np.frombuffer(data, dtype="<u8")
