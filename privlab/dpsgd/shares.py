"""Noise that several data owners add in shares, none of whom knows the others' shares."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from privlab.dpsgd.gaussian import IndependentNoise, NoiseSource


class SharedNoise(NoiseSource):
    """Each of n owners adds N(0, std² / m) of its own, so that the shares of any m of them make N(0, std²).

    Independent Gaussians add up in variance (distributed noise; Dwork, Kenthapadi, McSherry, Mironov, Naor 2006, "Our data,
    ourselves"). With m below n, n − m owners may drop out of a step; while all are there the noise is more than promised.

    Args:
        sources: one for each owner, with nothing in common.
        fewest: m.

    Raises:
        ValueError: m outside 1 … n.
    """

    def __init__(self, sources: Sequence[IndependentNoise], fewest: int):
        if not 1 <= fewest <= len(sources):
            raise ValueError(f"fewest={fewest} must be 1 to {len(sources)}, the number of owners.")
        self._shares = [_Share(source, fewest**-0.5) for source in sources]
        self.owners, self.fewest = len(sources), fewest
        self._first = 0

    def share(self, owner: int) -> NoiseSource:
        return self._shares[owner]

    def perturb(self, sums: Sequence[Tensor], std: float) -> list[Tensor]:
        """The least noise that a step may have: the shares of m owners, other ones each time. For checks; in training each
        owner adds its own :meth:`share`."""
        noisy = list(sums)
        for i in range(self.fewest):
            noisy = self._shares[(self._first + i) % self.owners].perturb(noisy, std)
        self._first = (self._first + 1) % self.owners
        return noisy

    @property
    def state(self) -> list[int]:
        """Places in the owners' streams, for the checkpoint of a reproducible run."""
        return [share.source.state for share in self._shares]

    @state.setter
    def state(self, places: Sequence[int]) -> None:
        for share, place in zip(self._shares, places, strict=True):
            share.source.state = place


class _Share(NoiseSource):
    """One owner's source, made smaller by ``scale``."""

    def __init__(self, source: IndependentNoise, scale: float):
        self.source, self._scale = source, scale

    def perturb(self, sums: Sequence[Tensor], std: float) -> list[Tensor]:
        return self.source.perturb(sums, std * self._scale)
