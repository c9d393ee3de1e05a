"""tanh as a polynomial, for ciphertexts can only be added and multiplied."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev

#: Degree of the polynomials: the largest with three multiplications in a row.
DEGREE = 8
#: Range on which tanh is met where nothing is known of a unit's inputs.
_DEFAULT_RANGE = 5.0
#: How far a unit's range is widened beyond the calibration records, as a share, and the weight of that whole range in the fit.
_WIDER, _WHOLE = 0.3, 0.05
#: Weight of the units' own errors beside the logits'.
_OWN = 0.1
_GRID = 401
#: Least absolute value of a leading coefficient, which moves no value by more than 10⁻⁴.
_LEAST_LEAD = 2.0**-8


def fit_tanh(
    inputs: np.ndarray | None, units: int, following: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each hidden unit the polynomial p of degree 8 with p((z − middle) / half) ≈ tanh(z), its leading coefficient 1 or −1.

    Each unit has a range of its own and a least-squares fit where its inputs lie. Beyond its range a polynomial is far off. With
    ``following`` all units are fitted together once more, so that their errors cancel in the logits.

    Args:
        inputs: what the units' tanh is given for some calibration records, (records, units); None fits all on −5…5.
        units: how many.
        following: weights of the next layer, (classes, units).

    Returns:
        (middle (units,), half (units,), coefficients (units, 9) of 1, t, t² … t⁸).
    """
    grid = np.linspace(-1, 1, _GRID)
    if inputs is None:
        low, high, wider, share = np.full(units, -_DEFAULT_RANGE), np.full(units, _DEFAULT_RANGE), 0.0, 1.0
        inputs = np.empty((0, units))
    else:
        low, high, wider, share = inputs.min(axis=0), inputs.max(axis=0), _WIDER, _WHOLE
    middle = (low + high) / 2
    half = np.maximum((high - low) / 2, 0.5) * (1 + wider)
    met = chebyshev.chebvander((inputs - middle) / half, DEGREE)
    whole = chebyshev.chebvander(grid, DEGREE)
    weight = (1 - share) / max(len(inputs), 1)
    # Normal equations of each unit; Chebyshev polynomials keep them well conditioned.
    squares = weight * np.einsum("nuk,nul->ukl", met, met) + share / _GRID * whole.T @ whole
    wanted = weight * np.einsum("nuk,nu->uk", met, np.tanh(inputs))
    wanted += share / _GRID * np.tanh(middle[:, None] + half[:, None] * grid) @ whole
    found = np.linalg.solve(squares, wanted[..., None])[..., 0]
    if following is not None and len(inputs):
        found += _together(met, np.tanh(inputs) - np.einsum("nuk,uk->nu", met, found), squares, following)
    powers = np.array([chebyshev.cheb2poly(row) for row in found])
    # A leading 1 saves a multiplication: t is measured in units in which it is one.
    unit = np.maximum(np.abs(powers[:, DEGREE]), _LEAST_LEAD) ** (-1 / DEGREE)
    powers *= unit[:, None] ** np.arange(DEGREE + 1)
    powers[:, DEGREE] = np.where(powers[:, DEGREE] < 0, -1.0, 1.0)
    return middle, half * unit, powers


def _together(met: np.ndarray, left: np.ndarray, squares: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Changes d (units, 9) of the coefficients that make mean ‖W(left − p_d)‖² + own · Σ ‖w_u‖² d_u·squares_u·d_u least.

    W has each column's mean taken off: what all logits have in common decides nothing.
    """
    records, units, terms = met.shape
    centred = following - following.mean(axis=0)
    between = centred.T @ centred
    flat = met.reshape(records, units * terms)
    system = flat.T @ flat / records * np.kron(between, np.ones((terms, terms)))
    for unit in range(units):
        part = slice(unit * terms, (unit + 1) * terms)
        system[part, part] += (_OWN * between[unit, unit] + 1e-9) * squares[unit]
    wanted = (flat * np.repeat(left @ between, terms, axis=1)).mean(axis=0)
    return np.linalg.solve(system, wanted).reshape(units, terms)
