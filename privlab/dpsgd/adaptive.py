"""The bound C that follows a quantile of the gradient norms (Andrew, Thakkar, McMahan, Ramaswamy 2021, arXiv:1905.03871).

After each step the number of gradients that were not shortened is released with noise of its own, and C moves by it:
the next C depends on released numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from privlab.dpsgd.gaussian import NoiseSource
from privlab.dpsgd.gradients import Chunk
from privlab.privacy.plan import PrivacyPlan

#: C stays within these.
LEAST, MOST = 1e-6, 1e6


class QuantileClip:
    """C between two steps.

    Args:
        plan: with ``adaptive``; gives the first C, and B.

    Attributes:
        max_grad_norm: C of the coming step.
        count_noise: σ_b, standard deviation of the noise on the count.
    """

    def __init__(self, plan: PrivacyPlan):
        self.max_grad_norm = plan.max_grad_norm
        self.count_noise = plan.adaptive.count_noise
        self._quantile, self._rate = plan.adaptive.quantile, plan.adaptive.rate
        self._batch_size = plan.batch_size

    def released_share(self, chunks: Iterable[Chunk], noise: NoiseSource, device: torch.device) -> float:
        """b̃ = (b + N(0, σ_b²))/B + ½, the noisy share of gradients not shortened; may lie outside 0 … 1."""
        (noisy,) = noise.perturb([count(chunks, device)], self.count_noise)
        return noisy.item() / self._batch_size + 0.5

    def follow(self, share: float) -> None:
        """C ← C·exp(−η·(b̃ − γ))."""
        wanted = math.log(self.max_grad_norm) - self._rate * (share - self._quantile)
        self.max_grad_norm = math.exp(min(max(wanted, math.log(LEAST)), math.log(MOST)))


def count(chunks: Iterable[Chunk], device: torch.device) -> Tensor:
    """b = Σ(1[‖g‖ ≤ C] − ½) over the records of a batch, shape (1,): each record moves it by ½, one without a finite
    gradient not at all."""
    b = torch.zeros(1, device=device)
    for chunk in chunks:
        b += 0.5 * len(chunk.shortened) - chunk.shortened.sum()
    return b
