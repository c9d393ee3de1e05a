"""A parameter's use in a forward pass, and what a rule must say about it.

In a layer z = a·Wᵀ the gradient of record i is gᵢᵀ·aᵢ, where a went in and g is the loss's gradient at z. So what went in and
what came back say everything: norms of the records' gradients, and their weighted sum, without a gradient of each record
being formed (Goodfellow 2015, arXiv:1510.01799; book-keeping: Bu et al. 2023, arXiv:2210.00038).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor, nn

#: A squared length that is a sum of inner products of terms is trusted when it is at least this share of (Σ‖term‖)², and of
#: Σ‖term‖². Float32 gets the inner products right to about 1e-7 of ‖term‖·‖term‖, so the length is right to 6e-5 at worst,
#: where all roundings fall the same way (the self-check's room is 1e-4), and usually to 3e-6.
TRUSTED_OF_SQUARED_SUM, TRUSTED_OF_SUM_OF_SQUARES = 1e-3, 2e-2


class Use(ABC):
    """What one use of one trained parameter adds to the gradients of n records.

    A rule's own class needs :meth:`each` alone; the others say the same of it, quicker.

    Attributes:
        parameter: that is used.
    """

    def __init__(self, parameter: nn.Parameter):
        self.parameter = parameter
        self._formed: Tensor | None = None

    def lengths(self) -> Tensor:
        """‖gᵢ‖ of each record, float32 (n,)."""
        return _lengths(self.each())

    def total(self, factors: Tensor) -> Tensor:
        """Σᵢ fᵢ·gᵢ, float32, of the parameter's shape; ``factors``: float32 (n,)."""
        each = self.each()
        return (factors @ each.reshape(len(each), -1).float()).view(each.shape[1:])

    @abstractmethod
    def each(self) -> Tensor:
        """gᵢ of each record, (n, *the parameter's shape)."""

    def some(self, records: Tensor) -> Tensor:
        """gᵢ of the records with these numbers, int64 (m,)."""
        return self.each()[records]

    def terms(self) -> Tensor:
        """Σ‖term‖ over the terms whose sum gᵢ is, float32 (n,): how much can cancel."""
        return self.lengths()

    def inner(self, other: Use) -> Tensor | None:
        """⟨gᵢ, gᵢ of another use of the parameter⟩, float32 (n,); None where forming both is as good."""
        return None

    @classmethod
    def merged(cls, uses: Sequence[Use]) -> list[Use]:
        """The same as fewer uses; ``uses`` are all of this class and of one parameter."""
        return list(uses)

    def _settled(self, squares: Tensor, terms: Tensor, squared_terms: Tensor) -> Tensor:
        """√squares, where each of the squares is a sum of inner products of terms.

        Where the terms cancel, their rounding would be a large part of the length, and the clip would let the record's sum be
        longer than C. Such records are formed, here and in the sum, so that what is measured is what is summed.

        Args:
            squares: ‖gᵢ‖² as found, (n,).
            terms: Σ‖term‖, (n,).
            squared_terms: Σ‖term‖², (n,).
        """
        trusted = torch.maximum(TRUSTED_OF_SQUARED_SUM * terms.square(), TRUSTED_OF_SUM_OF_SQUARES * squared_terms)
        cancelling = squares < trusted
        lengths = squares.clamp(min=0).sqrt()
        self._formed = cancelling.nonzero().flatten() if cancelling.any() else None
        if self._formed is not None:
            for one in self._formed.split(1):
                lengths[one] = _lengths(self.some(one))
        return lengths

    def _apart(self, factors: Tensor) -> tuple[Tensor, Tensor | float]:
        """Factors without those of the records that :meth:`_settled` formed, and these records' weighted sum."""
        if self._formed is None:
            return factors, 0.0
        total = sum(factors[one] * self.some(one)[0].float() for one in self._formed.split(1))
        return factors.index_fill(0, self._formed, 0), total


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

    @classmethod
    def merged(cls, uses: Sequence[Formed]) -> list[Use]:
        return [Formed(uses[0].parameter, sum(use.each().float() for use in uses))]


class Rows(Use):
    """A use of some rows of a parameter, as of one of the matrices that lie in it one above the other.

    Args:
        use: of these rows alone.
        first: number of the first of them.
        count: how many.
    """

    def __init__(self, use: Use, first: int, count: int):
        super().__init__(use.parameter)
        self._use, self._first, self._count = use, first, count

    def _placed(self, rows: Tensor) -> Tensor:
        """``rows`` (…, count, *) among zeros, (…, *the parameter's shape)."""
        shape = self.parameter.shape
        axis = rows.dim() - len(shape)
        whole = rows.new_zeros(*rows.shape[:axis], *shape)
        whole.narrow(axis, self._first, self._count).copy_(rows)
        return whole

    def lengths(self) -> Tensor:
        return self._use.lengths()

    def total(self, factors: Tensor) -> Tensor:
        return self._placed(self._use.total(factors))

    def each(self) -> Tensor:
        return self._placed(self._use.each())

    def some(self, records: Tensor) -> Tensor:
        return self._placed(self._use.some(records))

    def terms(self) -> Tensor:
        return self._use.terms()

    def inner(self, other: Use) -> Tensor | None:
        if not isinstance(other, Rows):
            return None
        first, second = sorted((self, other), key=lambda use: use._first)
        if first._first + first._count <= second._first:
            return torch.zeros_like(self.lengths())
        return None

    @classmethod
    def merged(cls, uses: Sequence[Rows]) -> list[Use]:
        by_place: dict[tuple[int, int], list[Use]] = {}
        for use in uses:
            by_place.setdefault((use._first, use._count), []).append(use._use)
        return [Rows(use, *place) for place, same in by_place.items() for use in _merged(same)]


class Shared(Use):
    """Several uses of one parameter: their gradients add up before anything is measured.

    Lengths of uses do not add up: taking √Σ‖use‖² for the length of the sum would clip too little (up to √2 times for two
    uses). ‖Σ gᵤ‖² = Σ‖gᵤ‖² + 2 Σ⟨gᵤ, gᵥ⟩, and the inner products, too, come from what went in and what came back.
    """

    def __init__(self, uses: Sequence[Use]):
        super().__init__(uses[0].parameter)
        self._uses = uses

    @cached_property
    def _fewest(self) -> list[Use]:
        return _merged(self._uses)

    @cached_property
    def _sum(self) -> Tensor:
        return sum(use.each().float() for use in self._fewest)

    def lengths(self) -> Tensor:
        if len(self._fewest) == 1:
            return self._fewest[0].lengths()
        inner = [a.inner(b) if (found := b.inner(a)) is None else found for a, b in combinations(self._fewest, 2)]
        if any(one is None for one in inner):
            return super().lengths()
        own = sum(use.lengths().square() for use in self._fewest)
        return self._settled(own + 2 * sum(inner), sum(use.terms() for use in self._fewest), own)

    def total(self, factors: Tensor) -> Tensor:
        factors, formed = self._apart(factors)
        return sum(use.total(factors) for use in self._fewest) + formed

    def each(self) -> Tensor:
        return self._sum

    def some(self, records: Tensor) -> Tensor:
        return sum(use.some(records).float() for use in self._fewest)


def _merged(uses: Sequence[Use]) -> list[Use]:
    by_kind: dict[type[Use], list[Use]] = {}
    for use in uses:
        by_kind.setdefault(type(use), []).append(use)
    return [use for kind, same in by_kind.items() for use in (kind.merged(same) if len(same) > 1 else same)]


def _lengths(each: Tensor) -> Tensor:
    return torch.linalg.vector_norm(each.reshape(len(each), -1), dim=1, dtype=torch.float32)


def over_records(rows: Tensor, n: int) -> Tensor:
    """Places and views of each record in one row of their own: (n·K, *places, d) → (n, K·places, d)."""
    return rows.reshape(n, -1, rows.shape[-1])
