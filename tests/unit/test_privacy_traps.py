"""Numbers that people quote and that are not the truth: the central limit, shuffled batches, the best of many runs."""

from __future__ import annotations

import math

import pytest
from scipy.stats import norm

from privlab.privacy.accounting import epsilon, epsilon_of
from privlab.privacy.gaussian import clt_epsilon
from privlab.privacy.phases import Phase
from privlab.privacy.selection import naive_epsilon, selection_epsilon
from privlab.privacy.shuffle import shuffle_lower_bound


def test_the_central_limit_understates():
    told = clt_epsilon((Phase(0.01, 0.7, 120),), 1e-5)
    assert told == pytest.approx(1.063, abs=5e-4)
    assert epsilon(0.01, 0.7, 120, 1e-5) == pytest.approx(2.461, abs=5e-4)


def test_the_central_limit_adds_different_steps_up():
    split = (Phase(0.01, 0.7, 50), Phase(0.01, 0.7, 70))
    assert clt_epsilon(split, 1e-5) == pytest.approx(clt_epsilon((Phase(0.01, 0.7, 120),), 1e-5), rel=1e-9)
    assert clt_epsilon((*split, Phase(0.1, 2.0, 9)), 1e-5) > clt_epsilon(split, 1e-5)


def test_the_central_limit_without_noise_or_steps():
    assert clt_epsilon((Phase(0.01, 0.0, 1),), 1e-5) == math.inf
    with pytest.raises(ValueError, match="phases is empty"):
        clt_epsilon((), 1e-5)
    with pytest.raises(ValueError, match="delta=1"):
        clt_epsilon((Phase(0.01, 1.0, 1),), 1.0)


# Chua et al. 2024: T = 1000, δ = 1e-6; ε under Poisson sampling, and its lower bound under shuffling.
@pytest.mark.parametrize(("sigma", "poisson", "shuffled"), [(0.6, 2.11, 8.83), (0.8, 0.47, 6.04), (1.0, 0.19, 3.72)])
def test_shuffling_meets_published_values(sigma, poisson, shuffled):
    assert epsilon(1 / 1000, sigma, 1000, 1e-6) == pytest.approx(poisson, abs=5.1e-3)
    assert shuffle_lower_bound(sigma, 1000, 1e-6) == pytest.approx(shuffled, abs=5.1e-3)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 20.0])
def test_one_shuffled_batch_is_the_plain_gaussian(sigma):
    exact = epsilon(1.0, sigma, 1, 1e-5)
    assert exact * 0.999 < shuffle_lower_bound(sigma, 1, 1e-5) <= exact + 1e-6


def test_the_shuffling_bound_is_what_its_attack_shows():
    # By hand at one threshold: the attack at c = 2.5 must not beat the best one.
    sigma, steps, delta, c = 0.6, 1000, 1e-6, 3.2
    there = 1 - norm.cdf((c - 2) / sigma) * norm.cdf(c / sigma) ** (steps - 1)
    absent = 1 - norm.cdf((c - 1) / sigma) * norm.cdf(c / sigma) ** (steps - 1)
    assert 0 < math.log((there - delta) / absent) <= shuffle_lower_bound(sigma, steps, delta)


@pytest.mark.parametrize(
    ("values", "named"),
    [((0, 10, 1e-5), "noise_multiplier=0"), ((1, 0, 1e-5), "steps=0"), ((1, 10, 1.0), "delta=1")],
)
def test_shuffling_out_of_range(values, named):
    with pytest.raises(ValueError, match=named):
        shuffle_lower_bound(*values)


# Papernot & Steinke 2022 on a training with RDP ε = 1 (q = .08192, T = 875, δ = 1e-5). The table that we were given says
# 2.69 for the geometric distribution at 100 trials, where dp-accounting says 2.684, and 13.9 for 13.85.
TUNED = (Phase(0.08192, 9.8926, 875),)


def test_the_tuned_training_spends_one():
    assert epsilon_of(TUNED, 1e-5, accountant="rdp") == pytest.approx(1.0, abs=5e-4)


@pytest.mark.parametrize(
    ("trials", "distribution", "published"),
    [(10, "logarithmic", 1.76), (10, "geometric", 2.13), (100, "logarithmic", 2.11), (100, "geometric", 2.684)],
)
def test_the_best_of_many_runs_meets_published_values(trials, distribution, published):
    assert selection_epsilon(TUNED, 1e-5, trials, distribution) == pytest.approx(published, abs=5.1e-3)


def test_all_of_many_runs_meet_published_values():
    assert naive_epsilon([TUNED] * 10, 1e-5, accountant="rdp") == pytest.approx(3.55, abs=5.1e-3)
    assert naive_epsilon([TUNED] * 100, 1e-5, accountant="rdp") == pytest.approx(13.9, abs=0.08)
    # PLD is tighter.
    assert naive_epsilon([TUNED] * 10, 1e-5) == pytest.approx(epsilon(0.08192, 9.8926, 8750, 1e-5))


def test_different_runs_are_composed():
    other = (Phase(0.01, 1.0, 100),)
    assert naive_epsilon([TUNED, other], 1e-5) == epsilon_of((*TUNED, *other), 1e-5)
    assert naive_epsilon([TUNED, other], 1e-5) > max(epsilon_of(TUNED, 1e-5), epsilon_of(other, 1e-5))
    assert naive_epsilon([], 1e-5) == 0.0
    assert naive_epsilon([TUNED, (Phase(0.01, 0.0, 1),)], 1e-5) == math.inf
    assert naive_epsilon([TUNED], 1e-5, adjacency="replace-one") > naive_epsilon([TUNED], 1e-5)


def test_one_trial_costs_no_less_than_the_training():
    assert selection_epsilon(TUNED, 1e-5, 1, "geometric") >= epsilon_of(TUNED, 1e-5, accountant="rdp") * 0.999
    assert selection_epsilon((Phase(0.1, 0.0, 3),), 1e-5, 10, "geometric") == math.inf


@pytest.mark.parametrize(
    ("values", "named"),
    [((0.5, "geometric"), "expected_trials=0.5 must be at least 1"), ((10, "poisson"), "distribution='poisson'")],
)
def test_selection_out_of_range(values, named):
    with pytest.raises(ValueError, match=named):
        selection_epsilon(TUNED, 1e-5, *values)
