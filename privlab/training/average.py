"""An exponential average of the parameters, which smooths the noise. Post-processing: it costs no privacy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class WeightAverage:
    """a ← decay·a + (1 − decay)·θ after every step, from a = 0; read with Adam's bias correction a / (1 − decayᵗ).

    Args:
        parameters: the trained parameters θ by name; read, never changed.
        decay: in (0, 1).
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float):
        self._parameters, self._decay = parameters, decay
        self.sums = {name: torch.zeros_like(p) for name, p in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters of the step just done."""
        for name, p in self._parameters.items():
            self.sums[name].lerp_(p, 1 - self._decay)


def corrected(sums: Mapping[str, Tensor], decay: float, steps: int) -> dict[str, Tensor]:
    """The average after ``steps`` ≥ 1 steps, by name."""
    return {name: total / (1 - decay**steps) for name, total in sums.items()}
