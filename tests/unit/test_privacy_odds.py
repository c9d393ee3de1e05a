"""What a plan means as odds, against published values and the library's divergence."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from scipy.stats import norm

from privlab.privacy import PrivacyPlan, noise_for, odds
from privlab.privacy.odds import STRICT_RATE, trade_off
from privlab.privacy.phases import Phase

Q_RECORDS, Q_BATCH, STEPS = 50_000, 4096, 875  # q = 0.08192


def plan_for(target: float) -> PrivacyPlan:
    sigma = noise_for(target, Q_BATCH / Q_RECORDS, STEPS, 1e-5)
    return PrivacyPlan(Q_RECORDS, Q_BATCH, STEPS, sigma, 1.0, 1e-5, target_epsilon=target)


@pytest.mark.parametrize(
    ("target", "advantage", "of_pair", "hits"),
    [(1, 0.106, 0.462, 0.0024), (4, 0.348, 0.964, 0.015), (8, 0.571, 0.999, 0.071)],
)
def test_published_values(target, advantage, of_pair, hits):
    found = odds(plan_for(target))
    assert found.advantage == pytest.approx(advantage, abs=5e-4)
    assert found.advantage_of_pair == pytest.approx(of_pair, abs=6e-4)
    assert found.strict_hits == pytest.approx(hits, rel=0.02)
    assert found.chance_right == pytest.approx((1 + advantage) / 2, abs=3e-4)
    assert found.strict_certainty == pytest.approx(hits / (hits + 0.001), rel=0.02)


def test_advantage_is_the_library_s_delta_at_zero():
    plan = plan_for(4)
    accountant = dp_accounting.pld.PLDAccountant()
    event = dp_accounting.PoissonSampledDpEvent(plan.sample_rate, dp_accounting.GaussianDpEvent(plan.noise_multiplier))
    accountant.compose(event, STEPS)
    assert odds(plan).advantage == pytest.approx(accountant.get_delta(0.0), abs=1e-4)


def test_hits_of_a_plain_gaussian_are_known_exactly():
    # With q = 1 and one step the trade-off curve is Φ(Φ⁻¹(α) + 1/σ) (Dong, Roth, Su 2022).
    found = odds(PrivacyPlan(100, 100, 1, 2.0, 1.0, 1e-5))
    assert found.strict_hits == pytest.approx(norm.cdf(norm.ppf(0.001) + 0.5), rel=1e-3)
    assert found.advantage == pytest.approx(2 * norm.cdf(0.25) - 1, abs=1e-4)


def test_sentences_are_bounds_in_whole_numbers():
    sentences = odds(plan_for(4)).sentences
    assert "right at most 68 times in 100" in sentences[0]
    assert "at most 10 in 10,000" in sentences[1] and "at most 149 in 10,000" in sentences[1]
    assert "at most 94 times in 100" in sentences[2]


@pytest.mark.parametrize(
    ("plan", "lack"),
    [
        (PrivacyPlan(100, 10, 50, 0.0, 1.0, 1e-5), "no noise is added"),
        (PrivacyPlan(100, 10, 50, 0.0, None, 1e-5), "neither clipped nor noised"),
    ],
)
def test_without_a_guarantee_nothing_limits_the_attacker(plan, lack):
    found = odds(plan)
    assert (found.epsilon, found.advantage, found.chance_right, found.strict_hits) == (math.inf, 1.0, 1.0, 1.0)
    assert len(found.sentences) == 1 and lack in found.sentences[0]


def test_next_to_no_noise_is_next_to_no_protection():
    found = odds(PrivacyPlan(100, 50, 10_000, 0.05, 1.0, 1e-5))
    assert found.advantage == found.chance_right == 1.0


def test_much_noise_leaves_a_coin_flip():
    found = odds(PrivacyPlan(60_000, 60, 1, 1000.0, 1.0, 1e-5))
    assert found.epsilon == 0.0
    assert found.chance_right == pytest.approx(0.5, abs=1e-5)
    assert "right at most 51 times" in found.sentences[0]


RATES = np.array([0.0, 1e-6, 1e-4, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 1.0])


@pytest.mark.parametrize(("adjacency", "group_size", "shift"), [("add-or-remove-one", 3, 3), ("replace-one", 1, 2)])
def test_the_trade_off_of_a_plain_gaussian_is_known_exactly(adjacency, group_size, shift):
    found = trade_off((Phase(1.0, 4.0, 2),), RATES, adjacency=adjacency, group_size=group_size)
    exact = norm.cdf(norm.ppf(RATES) + shift * math.sqrt(2) / 4)
    assert found == pytest.approx(exact, abs=2e-4, rel=5e-3)
    assert (found >= exact - 1e-12).all()


def test_the_trade_off_is_the_library_s():
    phases = (Phase(0.08192, 3.0, 300), Phase(0.02, 1.0, 100))
    accountant = dp_accounting.pld.PLDAccountant()
    for phase in phases:
        event = dp_accounting.PoissonSampledDpEvent(
            phase.sample_rate, dp_accounting.GaussianDpEvent(phase.noise_multiplier)
        )
        accountant.compose(event, phase.steps)
    # The dual form over a fine grid of ε, in both directions at once, as the accountant's δ is the worse of both.
    epsilons = np.linspace(0, 12, 4001)
    deltas = np.array(accountant._pld.get_delta_for_epsilon(epsilons.tolist()))
    low = np.array([1e-4, 0.001, 0.01, 0.1])
    expected = [(deltas + np.exp(epsilons) * rate).min() for rate in low]
    assert trade_off(phases, low) == pytest.approx(expected, rel=2e-3)


def test_the_trade_off_rises_is_concave_and_holds_the_odds():
    plan = plan_for(4)
    rates = np.linspace(0, 1, 201)
    hits = trade_off(plan.phases, rates)
    assert (np.diff(hits) >= -1e-12).all() and (np.diff(hits, 2) <= 1e-9).all()
    assert (hits >= rates).all() and hits[-1] == 1.0
    found = odds(plan)
    assert (hits - rates).max() == pytest.approx(found.advantage, abs=1e-3)
    assert trade_off(plan.phases, [STRICT_RATE])[0] == found.strict_hits


def test_a_trade_off_without_a_guarantee_or_rates():
    assert trade_off((Phase(0.1, 0.0, 5),), [0.0, 0.5]).tolist() == [1.0, 1.0]
    assert trade_off((Phase(0.1, 1.0, 5),), []).shape == (0,)
    with pytest.raises(ValueError, match=r"from 0 to 1\.5 must lie between 0 and 1"):
        trade_off((Phase(0.1, 1.0, 5),), [0.0, 1.5])


def test_a_replaced_record_gives_more_away_and_is_told_as_such():
    plan = plan_for(1)
    other = PrivacyPlan(Q_RECORDS, Q_BATCH, STEPS, plan.noise_multiplier, 1.0, 1e-5, adjacency="replace-one")
    assert odds(other).advantage > 1.5 * odds(plan).advantage
    assert "which of two records was used" in odds(other).sentences[0]


def test_what_rounding_costs_is_in_the_odds():
    plan = PrivacyPlan(1437, 256, 168, 2.0, 1.0, 1e-5, rounded=True, dimension=10**9)
    exact = odds(PrivacyPlan(1437, 256, 168, plan.phases[0].noise_multiplier, 1.0, 1e-5))
    assert odds(plan).advantage > exact.advantage and odds(plan).strict_hits > exact.strict_hits
