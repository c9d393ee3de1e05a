"""What a plan means as odds, against published values and the library's divergence."""

from __future__ import annotations

import math

import dp_accounting
import pytest

from privlab.privacy import PrivacyPlan, noise_for, odds

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
    from scipy.stats import norm

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
