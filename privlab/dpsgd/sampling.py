"""Poisson sampling: each record joins each batch by its own coin flip, as the accounting assumes. Beside it, shuffling."""

from __future__ import annotations

import math

import numpy as np

from privlab.dpsgd.cipher import CipherStream


class PoissonSampler:
    """Batches of indices 0 … N−1 in which every index appears independently with probability q.

    The gap between two members of a batch is geometric with parameter q, so drawing gaps and summing them gives the same
    distribution as N coin flips at the cost of q·N draws. A gap is ⌊log U / log(1 − q)⌋ + 1 with U a multiple of 2⁻⁵³ in
    (0, 1], which gives each gap its probability to within 2⁻⁵¹; ε does not count that difference. Batches are independent of
    each other (the sampler has no memory besides the random stream), may be empty and are never cut or filled up to a size.

    Args:
        records: N.
        sample_rate: q = B / N from the plan, in (0, 1].
        flips: the stream of coin flips.

    Attributes:
        step: batches drawn so far; does not matter here.

    Raises:
        ValueError: q outside (0, 1] or N < 1.
    """

    def __init__(self, records: int, sample_rate: float, flips: CipherStream):
        _check(records, sample_rate)
        self.records, self.sample_rate, self.step, self._flips = records, sample_rate, 0, flips

    def draw(self) -> np.ndarray:
        """The next batch: increasing indices, int64, shape (n,) with n ~ Binomial(N, q), n = 0 included."""
        self.step += 1
        return _members(self.records, self.sample_rate, self._flips)

    @property
    def state(self) -> int:
        """Position in the random stream, for the checkpoint of a reproducible run."""
        return self._flips.state

    @state.setter
    def state(self, state: int) -> None:
        self._flips.state = state


class CyclicSampler:
    """Poisson sampling in turns: record i belongs to group i mod b for good, and step t (from 0) asks group t mod b only.

    Each member of the group joins with probability b·B / N, so batches hold B records on average and a record's steps are
    at least b apart, as banded matrix factorisation needs (Choquette-Choo et al. 2023, "(Amplified) banded matrix
    factorization", arXiv:2306.08153, algorithm 2). The groups depend on nothing but the index.

    Args:
        records: N.
        batch_size: B, expected.
        bands: b ≥ 1.
        flips: the stream of coin flips.

    Attributes:
        step: batches drawn so far; set it when a run goes on, so that every record keeps its distance.
        sample_rate: b·B / N, the chance of a record in a step that asks its group.

    Raises:
        ValueError: b·B > N (a chance above 1), or a number below 1.
    """

    def __init__(self, records: int, batch_size: int, bands: int, flips: CipherStream):
        if bands < 1:
            raise ValueError(f"bands={bands} must be at least 1.")
        self.records, self.bands, self.step, self._flips = records, bands, 0, flips
        self.sample_rate = bands * batch_size / records if records else 0.0
        _check(records, self.sample_rate)

    def draw(self) -> np.ndarray:
        """The next batch: increasing indices of one group, int64 (n,), n = 0 included."""
        group = self.step % self.bands
        self.step += 1
        size = len(range(group, self.records, self.bands))
        return group + self.bands * _members(size, self.sample_rate, self._flips)

    @property
    def state(self) -> int:
        """Position in the random stream, for the checkpoint of a reproducible run; ``step`` is kept apart."""
        return self._flips.state

    @state.setter
    def state(self, state: int) -> None:
        self._flips.state = state


class ShuffledSampler:
    """Batches of exactly B from one random order of all records after the other, as training without privacy usually draws
    them.

    **No guarantee**: whether a record is in a batch depends on the batches before, which none of the accountants here counts.
    Orders follow each other without a gap: a batch at the end of one is filled from the next, so it may hold a record twice.
    All orders of N records are equally likely up to ties of 53-bit numbers, which N²/2⁵⁴ bounds.

    Args:
        records: N.
        batch_size: B, 1 … N.
        flips: the stream that orders are drawn from.

    Attributes:
        step: batches drawn so far; set it when a run goes on. In a private run the rest of the epoch is then shuffled anew.

    Raises:
        ValueError: B outside 1 … N, or N < 1.
    """

    def __init__(self, records: int, batch_size: int, flips: CipherStream):
        _check(records, batch_size / records if records else 0.0)
        self.records, self.batch_size, self.step, self._flips = records, batch_size, 0, flips
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def draw(self) -> np.ndarray:
        """The next batch: indices in random order, int64 (B,)."""
        first = self.step * self.batch_size
        self.step += 1
        epoch, begin = divmod(first, self.records)
        batch = self._of(epoch)[begin : begin + self.batch_size]
        missing = self.batch_size - len(batch)
        return np.concatenate([batch, self._of(epoch + 1)[:missing]]) if missing else batch.copy()

    def _of(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.argsort(self._flips.uniforms(self.records), kind="stable")
        return self._order

    @property
    def state(self) -> int:
        """Where in the random stream the order of the next batch begins, for the checkpoint of a reproducible run; ``step`` is
        kept apart."""
        again = self._epoch == self.step * self.batch_size // self.records
        return self._flips.state - (self.records if again else 0)

    @state.setter
    def state(self, state: int) -> None:
        self._flips.state = state
        self._epoch = -1


def _members(count: int, q: float, flips: CipherStream) -> np.ndarray:
    """Which of 0 … count−1 come up when each does with probability q."""
    if q == 1:
        return np.arange(count)
    mean, scale, found, last = count * q, math.log1p(-q), [], -1
    # Enough gaps to pass the last record nearly always; the loop covers the rest.
    at_once = int(mean + 4 * math.sqrt(mean) + 8)
    while last < count:
        gaps = np.log(flips.uniforms(at_once))
        gaps /= scale
        # Turning into whole numbers is the floor; cut first, for a gap may be beyond them.
        places = np.minimum(gaps, count, out=gaps).astype(np.int64)
        places += 1
        places[0] += last
        found.append(np.cumsum(places, out=places))
        last = int(places[-1])
    batch = found[0] if len(found) == 1 else np.concatenate(found)
    return batch[: np.searchsorted(batch, count)]


def _check(records: int, sample_rate: float) -> None:
    if records < 1:
        raise ValueError(f"records={records} must be at least 1.")
    if not 0 < sample_rate <= 1:
        raise ValueError(f"sample_rate={sample_rate:g} must be above 0 and at most 1.")
