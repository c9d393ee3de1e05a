"""The distribution of a privacy loss on a grid, and every question that is asked of one.

Every approximation errs upwards: a wider grid and a cut tail both raise ε, and the tail that is counted as infinite
loss is larger than the rounding errors of the FFT. A grid whose spacing is a whole multiple of another's never gives a
smaller ε than it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Loss:
    """Distribution of a privacy loss on a grid, in one adjacency direction.

    Attributes:
        first: loss of ``probs[0]`` in units of ``spacing``.
        probs: probability of each loss, ascending; shape (n,).
        infinity: probability of an infinite loss.
        spacing: distance of neighbouring losses in nats.
    """

    first: int
    probs: np.ndarray
    infinity: float
    spacing: float

    def losses(self) -> np.ndarray:
        """Losses of the grid in nats, shape (n,)."""
        return (np.arange(len(self.probs)) + self.first) * self.spacing

    def _tails(self) -> tuple[np.ndarray, np.ndarray]:
        """For each grid loss l: the mass at or above it under P, and that under Q times e^l; each of shape (n,)."""
        from scipy.signal import lfilter

        backwards = self.probs[::-1]
        upper = np.cumsum(backwards)[::-1] + self.infinity
        # Σ_{i≥j} p_i·e^(l_j - l_i) by its recursion, which cannot overflow.
        lower = lfilter([1.0], [1.0, -math.exp(-self.spacing)], backwards)[::-1]
        return upper, lower

    def epsilon(self, delta: float) -> float:
        """Smallest ε ≥ 0 whose hockey-stick divergence is at most ``delta``; inf if there is none."""
        if self.infinity > delta:
            return math.inf
        start = min(max(-self.first, 0), len(self.probs) - 1)  # a negative ε is never claimed
        above = Loss(self.first + start, self.probs[start:], self.infinity, self.spacing)
        upper, lower = above._tails()
        # The first grid loss that meets δ; ε lies between it and the one before, where the divergence is linear in e^ε.
        j = int(np.argmax(upper - lower <= delta))
        grid_loss = (above.first + j) * self.spacing
        if upper[j] <= delta:
            return max(0.0, grid_loss) if j else 0.0
        return max(0.0, grid_loss + math.log((upper[j] - delta) / lower[j]))

    def delta(self, epsilon: float) -> float:
        """Hockey-stick divergence at ``epsilon``, 0…1."""
        losses = self.losses()
        beyond = losses > epsilon
        mass = self.infinity - float(np.expm1(epsilon - losses[beyond]) @ self.probs[beyond])
        return min(1.0, max(0.0, mass))

    def true_positive_rates(self, false_positive_rates: np.ndarray) -> np.ndarray:
        """Largest true-positive rate of any test at each false-positive rate, shape as ``false_positive_rates``, 0…1.

        min over ε of δ(ε) + e^ε·α, by the primal-dual view of Dong, Roth, Su 2022 (arXiv:1905.02383, section 2.3). Every ε
        gives an upper bound; the best is the loss at which the likelihood-ratio test has the rate α.
        """
        upper, lower = self._tails()
        losses = self.losses()
        # Rounding errors in the far tail must not break the order in which the best ε is looked up.
        alarms = np.maximum.accumulate((lower * np.exp(np.minimum(-losses, 700.0)))[::-1])
        best = len(losses) - 1 - np.minimum(np.searchsorted(alarms, false_positive_rates), len(losses) - 1)
        nearby = np.clip(np.stack([best - 1, best, best + 1]), 0, len(losses) - 1)
        slopes = np.exp(np.minimum(losses[nearby], 700.0))
        hits = (upper[nearby] - lower[nearby] + slopes * false_positive_rates).min(axis=0)
        return np.clip(hits, false_positive_rates, 1.0)
