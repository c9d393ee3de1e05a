"""The sampler is Poisson with exactly q = B/N.

**Error rates.** Each test refuses a right sampler with probability at most 10⁻⁶ (stated limits are that many standard
errors), and a wrong one is put beside it and must be rejected. The overall rate's standard error is 0.17 % of q (2.4
million flips): a rate 2 % off lies 12 errors away, one 5 % off 30, so either passes with probability far below 10⁻⁶.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from scipy import stats

from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.sampling import CyclicSampler, PoissonSampler, ShuffledSampler

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
    return PoissonSampler(N, q, CipherStream(seed)).draw


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
    few = PoissonSampler(10, 0.1, CipherStream(1))
    empty = np.mean([len(few.draw()) == 0 for _ in range(20_000)])
    chance = 0.9**10
    assert abs(empty - chance) < LIMIT * np.sqrt(chance * (1 - chance) / 20_000)


@pytest.mark.parametrize(("records", "q"), [(1, 1.0), (7, 1.0), (1, 1e-3), (1000, 0.999), (100_000, 1e-6)])
def test_edges(records: int, q: float) -> None:
    sampler = PoissonSampler(records, q, CipherStream(0))
    for _ in range(200):
        batch = sampler.draw()
        assert batch.dtype == np.int64 and (np.diff(batch) > 0).all()
        assert not len(batch) or (batch[0] >= 0 and batch[-1] < records)
        if q == 1:
            assert len(batch) == records


def test_more_than_the_first_guess_is_drawn_when_needed() -> None:
    """Uniforms near 1 give short gaps, so that the first guess of how many are needed falls short."""
    asked = []

    class Short(CipherStream):
        def uniforms(self, count: int) -> np.ndarray:
            asked.append(count)
            return np.maximum(super().uniforms(count), 0.995)

    batch = PoissonSampler(1000, 0.01, Short(0)).draw()
    assert len(asked) > 10
    np.testing.assert_array_equal(batch, np.arange(1000))


def test_gaps_are_the_inverse_of_the_geometric_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flip of record k comes up first exactly where (1−q)^(k+1) < U ≤ (1−q)^k, ends of the uniforms included."""
    q, kept = 0.3, 0.7
    for first in range(12):
        for u in (kept**first * (1 - 1e-12), kept ** (first + 1) * (1 + 1e-12)):
            monkeypatch.setattr(CipherStream, "uniforms", lambda self, count, u=u: np.full(count, u))
            assert PoissonSampler(100, q, CipherStream(0)).draw()[0] == first
    for u in (1.0, 2.0**-53):
        monkeypatch.setattr(CipherStream, "uniforms", lambda self, count, u=u: np.full(count, u))
        assert len(PoissonSampler(30, q, CipherStream(0)).draw()) == (30 if u == 1 else 0)


def test_state_goes_back_in_time() -> None:
    first = PoissonSampler(1000, 0.1, CipherStream(4))
    first.draw()
    state = first.state
    expected = [first.draw() for _ in range(3)]
    second = PoissonSampler(1000, 0.1, CipherStream(4))
    second.state = state
    for batch in expected:
        np.testing.assert_array_equal(second.draw(), batch)


@pytest.mark.parametrize("q", [0.0, -0.1, 1.0001, float("nan")])
def test_impossible_rate_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        PoissonSampler(10, q, CipherStream(0))


# In turns

BANDS = 4


@pytest.fixture(scope="module")
def cyclic() -> np.ndarray:
    """Who was in which batch of a cyclic sampler that holds N·q records on average, bool (DRAWS, N)."""
    sampler = CyclicSampler(N, 6, BANDS, CipherStream(2))
    return member_table(sampler.draw)


def test_each_step_asks_one_group(cyclic: np.ndarray) -> None:
    for group in range(BANDS):
        others = np.arange(N) % BANDS != group
        assert not cyclic[group::BANDS, others].any()


def test_cyclic_rate_in_a_record_s_own_steps_is_b_times_q(cyclic: np.ndarray) -> None:
    rate = BANDS * 6 / N
    own = np.array([cyclic[i % BANDS :: BANDS, i] for i in range(N)])
    assert abs(z_of_rate(own, rate)) < LIMIT
    z = (own.mean(axis=1) - rate) / np.sqrt(rate * (1 - rate) / own.shape[1])
    assert np.abs(z).max() < stats.norm.isf(1e-6 / (2 * N))
    assert abs(z_of_rate(own, rate * 0.98)) > LIMIT and abs(z_of_rate(own, rate * 1.02)) > LIMIT
    # Consecutive chances of one record are independent.
    a, b = own[:, :-1].ravel(), own[:, 1:].ravel()
    assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(len(a)) < LIMIT


def test_cyclic_batches_hold_b_records_on_average(cyclic: np.ndarray) -> None:
    sizes = cyclic.sum(axis=1)
    rate = BANDS * 6 / N
    assert abs(sizes.mean() - 6) < LIMIT * np.sqrt(N / BANDS * rate * (1 - rate) / DRAWS)


def test_cyclic_sampler_goes_on_at_its_step() -> None:
    sampler = CyclicSampler(23, 4, 5, CipherStream(2))
    assert sampler.sample_rate == 20 / 23
    for _ in range(7):
        sampler.draw()
    assert sampler.step == 7
    resumed = CyclicSampler(23, 4, 5, CipherStream(2))
    resumed.state, resumed.step = sampler.state, sampler.step
    for step in range(7, 15):
        batch = sampler.draw()
        assert (batch % 5 == step % 5).all() and (batch < 23).all()
        np.testing.assert_array_equal(resumed.draw(), batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((10, 3, 4), "sample_rate=1.2"), ((10, 3, 0), "bands=0"), ((0, 3, 2), "records=0"), ((10, 0, 2), "sample_rate=0")],
)
def test_impossible_turns_are_refused(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CyclicSampler(*arguments, CipherStream(0))


def test_all_of_a_group_joins_where_the_rate_is_1() -> None:
    sampler = CyclicSampler(10, 2, 5, CipherStream(0))
    assert [sampler.draw().tolist() for _ in range(3)] == [[0, 5], [1, 6], [2, 7]]


# Shuffled epochs, without a guarantee ---------------------------------------------------------------------------------------


def test_shuffled_batches_hold_every_record_once_an_epoch():
    sampler = ShuffledSampler(10, 4, CipherStream(3))
    drawn = np.concatenate([sampler.draw() for _ in range(5)])
    assert [sorted(drawn[:10].tolist()), sorted(drawn[10:].tolist())] == [list(range(10))] * 2
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_every_record_is_equally_likely_at_every_place_of_an_order():
    sampler, count = ShuffledSampler(4, 4, CipherStream(5)), 4000
    orders = np.stack([sampler.draw() for _ in range(count)])
    seen = np.stack([np.bincount(orders[:, place], minlength=4) for place in range(4)])
    # χ² of 9 degrees of freedom stays below 40 but for once in 10⁵.
    assert ((seen - count / 4) ** 2 / (count / 4)).sum() < 40


@pytest.mark.parametrize("done", range(7))
def test_a_reproducible_shuffled_run_goes_on_with_the_same_batches(done):
    whole = ShuffledSampler(10, 4, CipherStream(7))
    for _ in range(done):
        whole.draw()
    again = ShuffledSampler(10, 4, CipherStream(7))
    again.state, again.step = whole.state, whole.step
    assert [whole.draw().tolist() for _ in range(6)] == [again.draw().tolist() for _ in range(6)]


@pytest.mark.parametrize(("records", "batch_size"), [(0, 1), (10, 0), (10, 11)])
def test_shuffled_batches_fit_into_an_epoch(records, batch_size):
    with pytest.raises(ValueError, match="must be"):
        ShuffledSampler(records, batch_size, CipherStream(0))
