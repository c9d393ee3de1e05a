"""Gaussian noise in whole numbers: K = ⌊2³⁰·X⌋ with X ~ N(0, 1), with a proven distance from that distribution.

Rejection sampling under a staircase (von Neumann 1951; the same steps as Karney 2016, "Sampling exactly from the normal
distribution", with narrower stairs). Stair i covers |X| in [i, i+1) / 64 at the height w_i = exp(−(i/64)²/2):

1. a stair is drawn with probability w_i / Σw, **exactly** but for 2⁻²³⁶⁸: the sums of w are known to 2,368 bits, and random
   bits are compared with them from the top, more being drawn where 64 do not decide;
2. a place j in the stair, one of 2²⁴ grid cells, is drawn uniformly, exactly, and a sign;
3. it is kept with probability a = exp(−v), v = t·(i/64 + t/2), t = (j + ½)·2⁻³⁰ the cell's middle, or all begins anew.

A kept |K| = 2²⁴·i + j has a probability in proportion to w_i·a, the Gaussian density in the middle of its cell.

**Distance.** In units of a share of the probability: the middle for the cell's integral, 2⁻⁶⁰/24·56² < 2⁻⁵²; the product v
(its factors are exact), v·2⁻⁵³ < 2⁻⁵³; exp within 4 units in the last place (NumPy claims that much; a test measures less
than 1), 2⁻⁵⁰; comparing a with a multiple of 2⁻⁵³, 2⁻⁵³/a < 2⁻⁵¹ as a ≥ exp(−56/64 − 2⁻¹³). The sum is below 2⁻⁴⁹; dividing by
the total, which is as close, at most doubles it: η = 2⁻⁴⁸ = ``privacy.rounding.RELATIVE_ERROR``. Step 1's 2⁻²³⁶⁸ is next to
nothing even beside w = exp(−56²/2) > 2⁻²²⁶³. Beyond 56 deviations nothing is drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal, localcontext
from functools import cache
from itertools import accumulate

import numpy as np

from privlab.dpsgd.cipher import CipherStream
from privlab.privacy.rounding import GRID_BITS, SUPPORT

#: Stairs to a standard deviation, as a power of two, and bits to which the sums of their heights are known.
_STAIR_BITS, _TABLE_BITS, _WORD_BITS = 6, 2368, 64
#: Decimal digits of the arithmetic behind them: 2,368 bits are 713 digits, and ratio ** i² may lose 8.
_TABLE_DIGITS = 730
_STAIRS = SUPPORT << _STAIR_BITS
# A word's top bits decide the stair at once in all but few cases.
_GUIDE_BITS = 16
# Attempts made together, so that their arrays stay in the processor's cache.
_AT_ONCE = 1 << 14
_UNSURE = -1


def whole_noise(stream: CipherStream, count: int, grid_bits: int = GRID_BITS) -> np.ndarray:
    """``count`` independent draws of K = ⌊2^``grid_bits``·X⌋, int64 (count,).

    Args:
        stream: of random words.
        count: at least 0.
        grid_bits: 30 in the mechanism, and the distance above is for 30; 7 to 30, for tests that look at every K.
    """
    found, missing = [], count
    while missing:
        # About 1 in 160 is rejected; a few more attempts than needed make another round rare.
        wanted = min(missing, _AT_ONCE)
        found.append(_attempts(stream, wanted + wanted // 64 + 32, grid_bits)[:missing])
        missing -= len(found[-1])
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, dtype=np.int64), *found])


def _attempts(stream: CipherStream, count: int, grid_bits: int) -> np.ndarray:
    """Those of ``count`` attempts that are kept, int64 (n,), n ≤ ``count``."""
    inside = grid_bits - _STAIR_BITS
    stair, words = _stairs(stream, count), stream.words(count)
    place = (words >> np.uint64(_WORD_BITS - inside)).view(np.int64)
    middle = (place + 0.5) * 2.0**-grid_bits
    v = stair * 2.0**-_STAIR_BITS
    v += middle / 2
    v *= middle
    kept = stream.uniforms(count) <= np.exp(np.negative(v, out=v), out=v)
    # The lowest bit is the sign: ~m = −m − 1 takes the cell [m, m+1) to its mirror image.
    drawn = ((stair << inside) + place) ^ -(words & np.uint64(1)).view(np.int64)
    return drawn[kept]


def _stairs(stream: CipherStream, count: int) -> np.ndarray:
    """Stair of each draw, int64 (count,): how many sums of heights are at most U, U uniform in [0, 1)."""
    _, tops, guide = _table()
    words = stream.words(count)
    stairs = guide[(words >> np.uint64(_WORD_BITS - _GUIDE_BITS)).astype(np.intp)]
    unsure = np.flatnonzero(stairs == _UNSURE)
    stairs[unsure] = np.searchsorted(tops, words[unsure], side="right")
    tied = stairs[unsure] != np.searchsorted(tops, words[unsure], side="left")
    for at in unsure[tied]:
        stairs[at] = _decide(int(words[at]), stream)
    return stairs


def _decide(word: int, stream: CipherStream) -> int:
    """Stair of a U whose first 64 bits are those of a sum: as many more bits are drawn as the sums have."""
    more = stream.words(_TABLE_BITS // _WORD_BITS - 1).astype(">u8").tobytes()
    return bisect_right(_table()[0], word << (_TABLE_BITS - _WORD_BITS) | int.from_bytes(more, "big"))


@cache
def _table() -> tuple[list[int], np.ndarray, np.ndarray]:
    """(sums, tops, guide): the heights of all stairs up to each but the last, in 2⁻²³⁶⁸ of the total; their first 64 bits,
    uint64; and the stair that each value of a word's first 16 bits decides, or ``_UNSURE``, int64."""
    with localcontext(prec=_TABLE_DIGITS):
        ratio = (Decimal(-1) / (2 << 2 * _STAIR_BITS)).exp()
        heights = [ratio ** (i * i) for i in range(_STAIRS)]
        unit = (1 << _TABLE_BITS) / sum(heights)
        sums = [int(total * unit) for total in accumulate(heights[:-1])]
    tops = np.array([total >> (_TABLE_BITS - _WORD_BITS) for total in sums], dtype=np.uint64)
    first = np.arange(1 << _GUIDE_BITS, dtype=np.uint64) << np.uint64(_WORD_BITS - _GUIDE_BITS)
    last = first + np.uint64((1 << (_WORD_BITS - _GUIDE_BITS)) - 1)
    below, upto = np.searchsorted(tops, first, side="left"), np.searchsorted(tops, last, side="right")
    return sums, tops, np.where(below == upto, below, _UNSURE)
