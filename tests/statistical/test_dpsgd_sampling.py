"""The sampler is Poisson with exactly q = B/N.

Each test accepts a right sampler with probability at least 1 − 10⁻⁶ (stated limits are that many standard errors), and a
wrong one is put beside it and must be rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from scipy import stats

from privlab.dpsgd.sampling import PoissonSampler

N, Q, DRAWS = 60, 0.13, 40_000
#: Two-sided normal limit of a single test with error 10⁻⁶.
LIMIT = stats.norm.isf(1e-6 / 2)


def member_table(draw: Callable[[], Iterable[int]]) -> np.ndarray:
    """Who was in which batch, bool (DRAWS, N)."""
    table = np.zeros((DRAWS, N), dtype=bool)
    for row in table:
        row[draw()] = True
    return table


def sampler(q: float = Q, seed: int = 0) -> Callable[[], np.ndarray]:
    return PoissonSampler(N, q, np.random.default_rng(seed)).draw


def shuffler(seed: int = 0) -> Callable[[], np.ndarray]:
    """What data loaders do: batches of one size cut from a shuffled order."""
    rng, size, order = np.random.default_rng(seed), round(N * Q), []

    def draw() -> np.ndarray:
        nonlocal order
        if len(order) < size:
            order = rng.permutation(N)
        batch, order = order[:size], order[size:]
        return batch

    return draw


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return member_table(sampler())


def z_of_rate(table: np.ndarray, q: float = Q) -> float:
    return (table.mean() - q) / np.sqrt(q * (1 - q) / table.size)


def test_overall_rate_is_q_and_one_per_cent_off_is_seen(table: np.ndarray) -> None:
    assert abs(z_of_rate(table)) < LIMIT
    # A rate of 1.02 q or 0.98 q passes with probability below 10⁻⁶: its z is 12 ± 1.
    assert z_of_rate(member_table(sampler(1.02 * Q))) > LIMIT
    assert z_of_rate(member_table(sampler(0.98 * Q))) < -LIMIT


def test_every_index_has_the_same_rate(table: np.ndarray) -> None:
    z = (table.mean(axis=0) - Q) / np.sqrt(Q * (1 - Q) / DRAWS)
    assert np.abs(z).max() < stats.norm.isf(1e-6 / (2 * N))


def p_of_sizes(table: np.ndarray) -> float:
    """χ² of the batch sizes against Binomial(N, q), cells with fewer than 10 expected joined."""
    sizes = np.bincount(table.sum(axis=1), minlength=N + 1)
    expected = DRAWS * stats.binom.pmf(np.arange(N + 1), N, Q)
    kept = expected >= 10
    observed = np.append(sizes[kept], sizes[~kept].sum())
    return stats.chisquare(observed, np.append(expected[kept], expected[~kept].sum())).pvalue


def test_batch_sizes_are_binomial_and_not_fixed(table: np.ndarray) -> None:
    assert p_of_sizes(table) > 1e-6
    assert p_of_sizes(member_table(shuffler())) < 1e-12


def z_of_pairs(a: np.ndarray, b: np.ndarray) -> float:
    """Whether members of ``a`` and ``b`` (same shape) go together more or less often than q²."""
    together = (a & b).mean()
    # Neighbouring pairs share an index, so the variance has a term for each shared one.
    variance = (Q**2 * (1 - Q**2) + 2 * (Q**3 - Q**4)) / a.size
    return (together - Q**2) / np.sqrt(variance)


@pytest.mark.parametrize("gap", [1, 2, 7, 29])
def test_indices_join_independently_of_each_other(table: np.ndarray, gap: int) -> None:
    assert abs(z_of_pairs(table[:, :-gap], table[:, gap:])) < LIMIT


def test_batches_are_independent_of_each_other(table: np.ndarray) -> None:
    assert abs(z_of_pairs(table[:-1], table[1:])) < LIMIT
    shuffled = member_table(shuffler())
    assert z_of_pairs(shuffled[:-1], shuffled[1:]) < -LIMIT


def test_empty_batches_come_as_often_as_they_should() -> None:
    few = PoissonSampler(10, 0.1, np.random.default_rng(1))
    empty = np.mean([len(few.draw()) == 0 for _ in range(20_000)])
    chance = 0.9**10
    assert abs(empty - chance) < LIMIT * np.sqrt(chance * (1 - chance) / 20_000)


@pytest.mark.parametrize(("records", "q"), [(1, 1.0), (7, 1.0), (1, 1e-3), (1000, 0.999), (100_000, 1e-6)])
def test_edges(records: int, q: float) -> None:
    sampler = PoissonSampler(records, q, np.random.default_rng(0))
    for _ in range(200):
        batch = sampler.draw()
        assert batch.dtype == np.int64 and (np.diff(batch) > 0).all()
        assert not len(batch) or (batch[0] >= 0 and batch[-1] < records)
        if q == 1:
            assert len(batch) == records


def test_more_than_the_first_guess_is_drawn_when_needed() -> None:
    sampler = PoissonSampler(1000, 0.5, np.random.default_rng(0))
    sampler._at_once = 3
    assert 400 < len(sampler.draw()) < 600


def test_state_goes_back_in_time() -> None:
    first = PoissonSampler(1000, 0.1, np.random.default_rng(4))
    first.draw()
    state = first.state
    expected = [first.draw() for _ in range(3)]
    second = PoissonSampler(1000, 0.1, np.random.default_rng(5))
    second.state = state
    for batch in expected:
        np.testing.assert_array_equal(second.draw(), batch)


@pytest.mark.parametrize("q", [0.0, -0.1, 1.0001, float("nan")])
def test_impossible_rate_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        PoissonSampler(10, q, np.random.default_rng(0))
