"""Linear layers, with and without a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from privlab.dpsgd.layers.kernels import choose
from privlab.dpsgd.layers.uses import Formed, Use, over_records


class Product(Use):
    """Σₜ gₜᵀ·aₜ over a record's places t, the gradient of a matrix (p, d).

    Two ways to the lengths: ``formed`` forms and keeps each record's gradient, ``grams`` sums ⟨aₛ, aₜ⟩⟨gₛ, gₜ⟩ over pairs of
    places (Li et al. 2022, arXiv:2110.05679, section 4), which is less where places are few and the matrix is large.

    Args:
        came: what went in, (n, places, d).
        back: the gradient at what came out, (n, places, p).
    """

    def __init__(self, parameter: nn.Parameter, came: Tensor, back: Tensor):
        super().__init__(parameter)
        self.came, self.back = came, back
        self._each: Tensor | None = None

    def lengths(self) -> Tensor:
        n, places, d = self.came.shape
        p = self.back.shape[2]
        if places == 1:
            return self.terms()  # ‖gᵀa‖ = ‖g‖·‖a‖
        key = f"Product {places} {d} {p} {self.came.dtype}"
        way = choose(key, self.came.device, quicker(places, d, p), n, self._trial)
        return self._lengths_by(way)

    def _lengths_by(self, way: str) -> Tensor:
        return self._lengths_by_grams() if way == "grams" else super().lengths()

    def _trial(self, way: str, records: int) -> None:
        part = Product(self.parameter, self.came[:records], self.back[:records])
        part.total(part._lengths_by(way))

    def _lengths_by_grams(self) -> Tensor:
        """‖Σ gₜᵀaₜ‖² = Σ ⟨aₛ, aₜ⟩⟨gₛ, gₜ⟩."""
        grams = (self.came @ self.came.mT).mul_(self.back @ self.back.mT).float()
        squared_terms = grams.diagonal(dim1=1, dim2=2)
        return self._settled(grams.flatten(1).sum(1), squared_terms.clamp(min=0).sqrt().sum(1), squared_terms.sum(1))

    def total(self, factors: Tensor) -> Tensor:
        if self._each is not None:
            return super().total(factors)
        factors, formed = self._apart(factors)
        came, back, factors = self.came, self.back, factors[:, None, None]
        # The factors go to the smaller side: for a head of many words the other one is most of the step's memory.
        if came.shape[2] < back.shape[2]:
            came = came * factors
        else:
            back = back * factors
        return back.flatten(0, 1).float().T @ came.flatten(0, 1).float() + formed

    def each(self) -> Tensor:
        if self._each is None:
            self._each = self.back.mT @ self.came
        return self._each

    def some(self, records: Tensor) -> Tensor:
        return self.back[records].mT @ self.came[records]

    def terms(self) -> Tensor:
        came, back = (torch.linalg.vector_norm(part, dim=2, dtype=torch.float32) for part in (self.came, self.back))
        return (came * back).sum(1)

    def inner(self, other: Use) -> Tensor | None:
        if not isinstance(other, Product):
            return None
        return ((self.came @ other.came.mT) * (self.back @ other.back.mT)).flatten(1).sum(1)

    @classmethod
    def merged(cls, uses: Sequence[Product]) -> list[Use]:
        """One product over the places of all."""
        came, back = (torch.cat([getattr(use, part) for use in uses], 1) for part in ("came", "back"))
        return [Product(uses[0].parameter, came, back)]


def quicker(places: int, d: int, p: int) -> list[str]:
    """Ways to the lengths of Σₜ gₜᵀ·aₜ that may be the quickest, the one of fewer multiplications first."""
    ratio = places * (d + p) / (d * p)
    if ratio > 4:
        return ["formed"]
    return ["grams", "formed"] if ratio < 1 else ["formed", "grams"]


def linear(layer: nn.Linear, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """y = x·Wᵀ + b over the last axis."""
    came, back = over_records(came, n), over_records(back, n)
    if layer.weight.requires_grad:
        yield Product(layer.weight, came, back)
    if layer.bias is not None and layer.bias.requires_grad:
        yield Formed(layer.bias, back[:, 0] if back.shape[1] == 1 else back.sum(1))


def linear_transposed(layer: nn.Module, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """y = x·W + b, with a weight (d, p): ``Conv1D`` of transformers, which GPT-2 is made of."""
    came, back = over_records(came, n), over_records(back, n)
    if layer.weight.requires_grad:
        yield Product(layer.weight, back, came)
    if layer.bias.requires_grad:
        yield Formed(layer.bias, back.sum(1))
