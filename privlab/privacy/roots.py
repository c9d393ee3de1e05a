"""Where a falling function crosses zero, with few looks at the costly function and more at a cheap one near it."""

from __future__ import annotations

from collections.abc import Callable

#: Value at which the search ends, and most steps on the costly function.
_SETTLED, _MOST = 5e-6, 4


def crossing(
    cheap: Callable[[float], float], full: Callable[[float], float], start: float, bottom: float, top: float
) -> float:
    """x in [bottom, top] where the falling ``full`` crosses 0, to about 1e-5 of its values; the bound that is nearest to it
    where it does not cross.

    Args:
        cheap: a falling function near ``full``.
        start: where to look first.
    """
    from scipy.optimize import brentq

    (low, above), (high, below) = _bracket(cheap, min(max(start, bottom), top), bottom, top)
    x = brentq(cheap, low, high, xtol=3e-5) if above > 0 >= below else (high if above > 0 else low)
    slope = min((below - above) / (high - low), -0.05) if high > low else -1.0
    value = full(x)
    for _ in range(_MOST):
        further = min(max(x - value / slope, bottom), top)
        if abs(value) < _SETTLED or further == x:
            break
        found = full(further)
        if found == value:  # a step of a function of whole numbers
            break
        slope = min((found - value) / (further - x), -0.05)
        x, value = further, found
    return x


def _bracket(
    function: Callable[[float], float], start: float, bottom: float, top: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two places with their values, the first above 0 and the second not, if that is so anywhere in [bottom, top]."""
    here = there = (start, function(start))
    stride = 0.2
    while there[1] > 0 and there[0] < top:
        here, there = there, ((x := min(there[0] + stride, top)), function(x))
        stride *= 2.5
    if here != there or there[1] > 0:
        return here, there
    while here[1] <= 0 and here[0] > bottom:
        here, there = ((x := max(here[0] - stride, bottom)), function(x)), here
        stride *= 2.5
    return here, there
