"""A parameter's use in a forward pass, and what a rule must say about it.

In a layer z = a·Wᵀ the gradient of record i is gᵢᵀ·aᵢ, where a went in and g is the loss's gradient at z. So what went in and
what came back say everything: norms of the records' gradients, and their weighted sum, without a gradient of each record
being formed (Goodfellow 2015, arXiv:1510.01799; book-keeping: Bu et al. 2023, arXiv:2210.00038).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Use(ABC):
    """What one use of one trained parameter adds to the gradients of n records.

    Attributes:
        parameter: that is used.
    """

    def __init__(self, parameter: nn.Parameter):
        self.parameter = parameter

    def lengths(self) -> Tensor:
        """‖gᵢ‖ of each record, float32 (n,)."""
        return torch.linalg.vector_norm(self.each().flatten(1), dim=1, dtype=torch.float32)

    def total(self, factors: Tensor) -> Tensor:
        """Σᵢ fᵢ·gᵢ, float32, of the parameter's shape; ``factors``: float32 (n,)."""
        each = self.each()
        return (factors @ each.flatten(1).float()).view_as(self.parameter)

    @abstractmethod
    def each(self) -> Tensor:
        """gᵢ of each record, (n, *the parameter's shape)."""


class Formed(Use):
    """Gradients that were formed record by record: where they are small, or nothing better is known.

    Args:
        gradients: (n, *the parameter's shape).
    """

    def __init__(self, parameter: nn.Parameter, gradients: Tensor):
        super().__init__(parameter)
        self._gradients = gradients

    def each(self) -> Tensor:
        return self._gradients


class Shared(Use):
    """Several uses of one parameter: their gradients add up before anything is measured.

    Lengths of uses do not add up: taking √Σ‖use‖² for the length of the sum would clip too little (up to √2 times for two
    uses).
    """

    def __init__(self, uses: Sequence[Use]):
        super().__init__(uses[0].parameter)
        self._uses = uses
        self._sum: Tensor | None = None

    def each(self) -> Tensor:
        if self._sum is None:
            first, *others = self._uses
            self._sum = first.each().float()
            for use in others:
                self._sum = self._sum + use.each()
        return self._sum

    def total(self, factors: Tensor) -> Tensor:
        return sum(use.total(factors) for use in self._uses)


def over_records(rows: Tensor, n: int) -> Tensor:
    """Places and views of each record in one row of their own: (n·K, *places, d) → (n, K·places, d)."""
    return rows.reshape(n, -1, rows.shape[-1])
