"""Embeddings: rows of a table, looked up by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from privlab.dpsgd.layers.linear import Product
from privlab.dpsgd.layers.uses import Use, over_records


class Lookup(Use):
    """The gradient of a table (V, d) of which a record reads row ``ids[t]`` at place t: gₜ is added to that row.

    What comes back to one row is added up first, so the length is that of what is really summed, however much cancels, and
    costs no more than reading ``back``. Nothing of size (n, V, d) is formed.

    Args:
        ids: numbers of rows, int64 (n, places).
        back: gₜ, (n, places, d).
    """

    def __init__(self, parameter: nn.Parameter, ids: Tensor, back: Tensor):
        super().__init__(parameter)
        self.ids, self.back = ids, back
        self._rows: tuple[Tensor, Tensor, Tensor] | None = None

    def _touched(self) -> tuple[Tensor, Tensor, Tensor]:
        """Each row that a record reads, once: the record's number, the row's, and what came back to it (m, d)."""
        if self._rows is None:
            size = len(self.parameter)
            records = torch.arange(len(self.ids), device=self.ids.device)[:, None]
            keys, place = torch.unique(records * size + self.ids, return_inverse=True)
            sums = self.back.new_zeros(len(keys), self.back.shape[-1], dtype=torch.float32)
            sums.index_add_(0, place.flatten(), self.back.flatten(0, 1).float())
            self._rows = keys // size, keys % size, sums
        return self._rows

    def lengths(self) -> Tensor:
        records, _, sums = self._touched()
        squares = sums.new_zeros(len(self.ids))
        return squares.index_add_(0, records, sums.square().sum(1)).sqrt_()

    def total(self, factors: Tensor) -> Tensor:
        records, rows, sums = self._touched()
        weighted = sums * factors[records, None]
        return weighted.new_zeros(self.parameter.shape).index_add_(0, rows, weighted)

    def each(self) -> Tensor:
        records, rows, sums = self._touched()
        each = sums.new_zeros(len(self.ids), *self.parameter.shape)
        each[records, rows] = sums
        return each

    def some(self, records: Tensor) -> Tensor:
        return Lookup(self.parameter, self.ids[records], self.back[records]).each()

    def terms(self) -> Tensor:
        return torch.linalg.vector_norm(self.back, dim=2, dtype=torch.float32).sum(1)

    def inner(self, other: Use) -> Tensor | None:
        """With a matrix product z = a·Wᵀ of the same table: Σₛₜ ⟨eᵢₛ ⊗ gₛ, g'ₜ ⊗ aₜ⟩ = Σₛₜ g'ₜ[iₛ]·⟨gₛ, aₜ⟩."""
        if not isinstance(other, Product):
            return None
        places = other.back.shape[1]
        read = other.back.gather(2, self.ids[:, None].expand(-1, places, -1))
        return (read * (other.came @ self.back.mT)).flatten(1).sum(1)

    @classmethod
    def merged(cls, uses: Sequence[Lookup]) -> list[Use]:
        ids, back = (torch.cat([getattr(use, part) for use in uses], 1) for part in ("ids", "back"))
        return [Lookup(uses[0].parameter, ids, back)]


def embedding(layer: nn.Embedding, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """y = W[ids]; the row ``padding_idx`` is not trained."""
    ids, back = came.reshape(n, -1), over_records(back, n)
    if layer.padding_idx is not None:
        back = back.masked_fill((ids == layer.padding_idx)[..., None], 0)
    yield Lookup(layer.weight, ids, back)


def embedding_misfit(layer: nn.Embedding) -> str | None:
    """Why the layer has no gradient of one record, or None."""
    if layer.max_norm is not None:
        return (
            f"max_norm={layer.max_norm:g} shortens the rows that a batch happens to read, outside of the private update"
        )
    if layer.weight.requires_grad and layer.scale_grad_by_freq:
        return "scale_grad_by_freq divides a record's gradient by how often the others in its batch use a row"
    if layer.weight.requires_grad and layer.sparse:
        return "sparse gradients are not for private training, where noise is added to every row"
    return None
