"""What one private step showed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from privlab.dpsgd.gradients import Chunk


@dataclass(frozen=True)
class StepReport:
    """What one step showed; private diagnostics but for the last four, which are public.

    Attributes:
        batch_size: records that the coin flips drew.
        chunks: what each physical chunk showed, as tensors.
        signal: norm of the clipped sum before noise, shape (); None unless asked for.
        max_grad_norm: C in force; None where nothing is clipped.
        noise_multiplier: σ that ε counts.
        noise_std: standard deviation of the noise on the clipped sum.
        quantile_share: noisy share of gradients that were not shortened, as released; None unless C is adaptive.
    """

    batch_size: int
    chunks: tuple[Chunk, ...]
    signal: Tensor | None
    max_grad_norm: float | None
    noise_multiplier: float
    noise_std: float
    quantile_share: float | None = None

    @property
    def dropped(self) -> int:
        return sum(chunk.dropped for chunk in self.chunks)
