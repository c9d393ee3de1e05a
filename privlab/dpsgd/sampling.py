"""Poisson sampling: each record joins each batch by its own coin flip, as the accounting assumes."""

from __future__ import annotations

from typing import Any

import numpy as np


class PoissonSampler:
    """Batches of indices 0 … N−1 in which every index appears independently with probability q.

    The gap between two members of a batch is geometric with parameter q, so drawing gaps and summing them gives exactly
    the same distribution as N coin flips at the cost of q·N draws. Batches are independent of each other (the sampler
    has no memory besides the random stream), may be empty and are never cut or filled up to a size.

    Args:
        records: N.
        sample_rate: q = B / N from the plan, in (0, 1].
        rng: the stream of coin flips.

    Raises:
        ValueError: q outside (0, 1] or N < 1.
    """

    def __init__(self, records: int, sample_rate: float, rng: np.random.Generator):
        if not 0 < sample_rate <= 1:
            raise ValueError(f"sample_rate={sample_rate:g} must be above 0 and at most 1.")
        if records < 1:
            raise ValueError(f"records={records} must be at least 1.")
        self.records, self.sample_rate, self._rng = records, sample_rate, rng
        mean = records * sample_rate
        # Enough gaps to pass the last record nearly always; the loop in `draw` covers the rest.
        self._at_once = int(mean + 4 * np.sqrt(mean) + 8)

    def draw(self) -> np.ndarray:
        """The next batch: increasing indices, int64, shape (n,) with n ~ Binomial(N, q), n = 0 included."""
        found, last = [], -1
        while last < self.records:
            places = last + np.cumsum(self._rng.geometric(self.sample_rate, self._at_once))
            found.append(places)
            last = int(places[-1])
        batch = np.concatenate(found)
        return batch[: np.searchsorted(batch, self.records)]

    @property
    def state(self) -> dict[str, Any]:
        """State of the random stream as plain values, for a checkpoint of a reproducible run."""
        return self._rng.bit_generator.state

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state
