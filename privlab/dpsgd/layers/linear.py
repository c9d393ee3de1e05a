"""Linear layers, with and without a sequence."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from privlab.dpsgd.layers.uses import Formed, Use, over_records


class Product(Use):
    """gᵢᵀ·aᵢ, the gradient of a matrix (p, d).

    Args:
        came: what went in, (n, places, d).
        back: the gradient at what came out, (n, places, p).
    """

    def __init__(self, parameter: nn.Parameter, came: Tensor, back: Tensor):
        super().__init__(parameter)
        self.came, self.back = came, back
        self._each: Tensor | None = None

    def lengths(self) -> Tensor:
        places, d, p = self.came.shape[1], self.came.shape[2], self.back.shape[2]
        if places == 1:
            # ‖gᵀa‖ = ‖g‖·‖a‖
            lengths = [
                torch.linalg.vector_norm(part[:, 0], dim=1, dtype=torch.float32) for part in (self.came, self.back)
            ]
            return lengths[0] * lengths[1]
        if places * (d + p) < d * p:
            # ‖Σ gₜᵀaₜ‖² = Σ ⟨aₛ, aₜ⟩⟨gₛ, gₜ⟩; rounding can put the square of a vanishing norm below zero.
            grams = (self.came @ self.came.mT).mul_(self.back @ self.back.mT)
            return grams.flatten(1).sum(1, dtype=torch.float32).clamp_(min=0).sqrt_()
        return super().lengths()

    def total(self, factors: Tensor) -> Tensor:
        if self._each is not None:
            return super().total(factors)
        weighted = self.back * factors[:, None, None]
        return weighted.flatten(0, 1).float().T @ self.came.flatten(0, 1).float()

    def each(self) -> Tensor:
        if self._each is None:
            self._each = self.back.mT @ self.came
        return self._each


def linear(layer: nn.Linear, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """y = x·Wᵀ + b over the last axis."""
    came, back = over_records(came, n), over_records(back, n)
    if layer.weight.requires_grad:
        yield Product(layer.weight, came, back)
    if layer.bias is not None and layer.bias.requires_grad:
        yield Formed(layer.bias, back[:, 0] if back.shape[1] == 1 else back.sum(1))
