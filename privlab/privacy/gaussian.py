"""The central-limit approximation of ε. **It understates**: offered only to be recognised, never to be claimed.

Gaussian differential privacy replaces the loss of many steps by a normal one (Bu, Dong, Long, Su 2020, arXiv:1911.11607,
section 3). That is a limit for infinitely many, ever weaker steps; before it the tail is heavier and the true ε larger.
At q = .01, σ = .7, T = 120, δ = 1e-5 it says 1.063 where the truth is 2.461.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from privlab.privacy.phases import Phase


def clt_epsilon(phases: Iterable[Phase], delta: float) -> float:
    """ε at ``delta`` if the loss were normal; **understates**. inf where a step adds next to no noise.

    μ² = Σ T·q²·(e^(1/σ²) − 1) over the phases (there, section 3, for Poisson sampling), then the exact ε of a Gaussian mechanism with
    sensitivity over deviation μ (Balle and Wang 2018, by dp-accounting).

    Raises:
        ValueError: δ outside 0…1, or no phases.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta:g} must lie above 0 and below 1.")
    given = tuple(phases)
    if not given:
        raise ValueError("phases is empty, so there is nothing to account.")
    if any(phase.noise_multiplier < 0.04 for phase in given):
        return math.inf
    from dp_accounting import get_epsilon_gaussian

    squares = sum(phase.steps * phase.sample_rate**2 * math.expm1(phase.noise_multiplier**-2) for phase in given)
    with np.errstate(divide="ignore"):  # a δ far below what is asked is log 0 there
        return float(get_epsilon_gaussian(1 / math.sqrt(squares), delta))
