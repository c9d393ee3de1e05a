"""Noise that partly cancels over the steps: DP-FTRL by banded matrix factorisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from privlab.dpsgd.gaussian import IndependentNoise, NoiseSource, added


def strategy(bands: int) -> np.ndarray:
    """c_0 … c_{b−1}, the first column of the strategy matrix C from its diagonal down, float64 (b,), of norm 1.

    C is lower triangular, constant along its diagonals and zero from the b-th below on: the square root of the matrix of
    prefix sums, c_k ∝ (2k choose k) / 4^k, cut to b bands (Kalinin & Lampert 2024, "Banded square root matrix
    factorization for differentially private model training", arXiv:2405.13763). Columns at its end are cut off, so every
    column has norm at most 1.

    Raises:
        ValueError: ``bands`` below 1.
    """
    if bands < 1:
        raise ValueError(f"bands={bands} must be at least 1.")
    k = np.arange(1, bands)
    column = np.cumprod(np.append(1.0, (2 * k - 1) / (2 * k)))
    return column / np.linalg.norm(column)


class CorrelatedNoise(NoiseSource):
    """Row t of C⁻¹Z times std at step t, Z independent N(0, 1): ẑ_t = (z_t − Σ_{j=1}^{b−1} c_j·ẑ_{t−j}) / c_0.

    Releasing G + C⁻¹Z is post-processing of C·G + Z, in which a record that joins steps at least b apart (as
    :class:`~privlab.dpsgd.sampling.CyclicSampler` sees to) meets columns of norm at most 1 with no step in common: one
    Gaussian mechanism a participation (Choquette-Choo et al. 2023, arXiv:2306.08153, theorem 4; that later gradients depend
    on earlier releases does no harm, as C is lower triangular: Denisov et al. 2022, arXiv:2202.08312).

    **What is kept.** The last b − 1 noises, (b − 1)·d float32, in memory only: with them and two checkpoints one could take
    the noise off. A run that goes on begins without them. Its strategy is then block-diagonal with one block for each
    stretch, and that matrix too is lower triangular, has b bands and columns of norm at most 1, so the guarantee is the
    same; only the cancelling begins anew.

    Args:
        source: gives z; its noise must be independent from step to step.
        bands: b; 1 is independent noise.

    Raises:
        ValueError: ``bands`` below 1.
    """

    def __init__(self, source: IndependentNoise, bands: int):
        self._source, self._column = source, strategy(bands)
        self.reset()

    def reset(self) -> None:
        self._past: Tensor | None = None
        self._step = 0

    def perturb(self, sums: Sequence[Tensor], std: float) -> list[Tensor]:
        return added(sums, self.next(sum(s.numel() for s in sums), sums[0].device), std)

    def next(self, count: int, device: torch.device) -> Tensor:
        """The next row of C⁻¹Z, float32 (count,).

        Raises:
            ValueError: ``count`` is not that of the rows before.
        """
        noise, column = self._source.normal(count, device), self._column
        if len(column) == 1:
            return noise
        if self._past is None:
            self._past = noise.new_zeros(len(column) - 1, count)
        elif self._past.shape[1] != count:
            raise ValueError(f"{count} values of noise are asked for, but the steps before had {self._past.shape[1]}.")
        # ẑ of step t lies in row t mod (b − 1), so that of j steps ago in row (t − j) mod (b − 1).
        at = self._step % len(self._past)
        weights = np.roll(column[:0:-1], at)
        noise.sub_(noise.new_tensor(weights) @ self._past).div_(column[0])
        self._past[at] = noise
        self._step += 1
        return noise

    @property
    def state(self) -> int:
        """Position of the inner random stream, for the checkpoint of a reproducible run; the noises are not in it."""
        return self._source.state

    @state.setter
    def state(self, state: int) -> None:
        self._source.state = state
        self.reset()
