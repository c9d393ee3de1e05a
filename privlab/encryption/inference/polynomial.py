"""tanh as a polynomial, for ciphertexts can only be added and multiplied."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev

#: Degree of the polynomials. Three multiplications in a row; with fewer, a record in some hundreds changes its class.
DEGREE = 7
#: Range on which tanh is met where nothing is known of a unit's inputs.
_DEFAULT_RANGE = 5.0
#: How far a unit's range is widened beyond the calibration records, as a share, and the weight of that whole range in the fit.
_WIDER, _WHOLE = 0.3, 0.05
_GRID = 401


def fit_tanh(inputs: np.ndarray | None, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each hidden unit the polynomial p of degree 7 with p((z − middle) / half) ≈ tanh(z).

    Each unit has a range of its own and a least-squares fit where its inputs lie. Beyond its range a polynomial is far off.

    Args:
        inputs: what the units' tanh is given for some calibration records, (records, units); None fits all on −5…5.
        units: how many.

    Returns:
        (middle (units,), half (units,), coefficients (units, 8) of 1, t, t² … t⁷).
    """
    if inputs is None:
        low, high = np.full(units, -_DEFAULT_RANGE), np.full(units, _DEFAULT_RANGE)
    else:
        low, high = inputs.min(axis=0), inputs.max(axis=0)
    middle = (low + high) / 2
    half = np.maximum((high - low) / 2, 0.5) * (1 + (_WIDER if inputs is not None else 0.0))
    grid, out = np.linspace(-1, 1, _GRID), np.empty((units, DEGREE + 1))
    for unit in range(units):
        met = np.empty(0) if inputs is None else (inputs[:, unit] - middle[unit]) / half[unit]
        t = np.concatenate([met, grid])
        share = _WHOLE if len(met) else 1.0
        weight = np.sqrt(
            np.concatenate([np.full(len(met), (1 - share) / max(len(met), 1)), np.full(_GRID, share / _GRID)])
        )
        basis = chebyshev.chebvander(t, DEGREE) * weight[:, None]
        target = np.tanh(middle[unit] + half[unit] * t) * weight
        out[unit] = chebyshev.cheb2poly(np.linalg.lstsq(basis, target, rcond=None)[0])
    return middle, half, out
