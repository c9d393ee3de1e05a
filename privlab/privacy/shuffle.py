"""What it costs at least to shuffle the data instead of Poisson-sampling each batch.

Much software shuffles the records, cuts them into batches, and reports the ε of Poisson sampling. This module says how far
that can be from the truth (Chua, Ghazi, Kamath, Kumar, Manurangsi, Sinha, Zhang 2024, "How private are DP-SGD
implementations?", arXiv:2403.17673). PrivLab itself draws Poisson batches.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

#: Thresholds tried, and the largest ε looked for.
_THRESHOLDS, _MOST_EPSILON = 4001, 1e4


@lru_cache(maxsize=256)
def shuffle_lower_bound(noise_multiplier: float, steps: int, delta: float) -> float:
    """ε that one epoch of ``steps`` shuffled batches spends **at least** at ``delta``; the true ε may be larger.

    Neighbouring data sets there differ by one record whose gradient is set to zero, for which Poisson sampling costs what
    adding or removing one does, with q = 1/T. Where all other gradients point the other way, the outputs are
    Σ_t N(2·e_t, σ²I)/T against Σ_t N(e_t, σ²I)/T over the T batches (there, section 3.2), and the attack that looks for a
    batch above a threshold c tells them apart with

        δ(ε) ≥ max_c [1 − Φ((c−2)/σ)·Φ(c/σ)^(T−1)] − e^ε·[1 − Φ((c−1)/σ)·Φ(c/σ)^(T−1)].

    For several epochs this stays a lower bound, for further epochs release only more; nothing tighter is claimed.

    Args:
        noise_multiplier: σ, above 0.
        steps: T, batches in one epoch, at least 1.
        delta: δ, in (0, 1).

    Raises:
        ValueError: a value out of its bounds.
    """
    if not (noise_multiplier > 0 and math.isfinite(noise_multiplier)):
        raise ValueError(f"noise_multiplier={noise_multiplier:g} must be above 0.")
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1.")
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta:g} must lie above 0 and below 1.")
    from scipy.special import log_ndtr

    sigma = noise_multiplier
    thresholds = np.linspace(-10 * sigma, 2 + 40 * sigma, _THRESHOLDS)
    others = (steps - 1) * log_ndtr(thresholds / sigma)
    with_record = -np.expm1(log_ndtr((thresholds - 2) / sigma) + others)
    without = -np.expm1(log_ndtr((thresholds - 1) / sigma) + others)
    told = (with_record > delta) & (without > 0)
    # Each threshold shows ε ≥ log((P − δ)/Q).
    shown = np.log((with_record[told] - delta) / without[told])
    return float(min(max(shown.max(initial=0.0), 0.0), _MOST_EPSILON))
