"""Noise for a target and steps for a limit, over different steps and every way of accounting."""

from __future__ import annotations

import math

import pytest

from privlab.privacy.accounting import epsilon_of
from privlab.privacy.calibration import OutOfReach, noise_for, scale_for, steps_within
from privlab.privacy.phases import Phase, first_steps, total_steps

FALLING = tuple(Phase(0.05, 2.0 - place / 10, 40) for place in range(10))
WAYS = [
    {},
    {"accountant": "rdp"},
    {"adjacency": "replace-one"},
    {"adjacency": "replace-one", "accountant": "rdp"},
    {"group_size": 3},
]


def scaled(phases, factor):
    return tuple(Phase(phase.sample_rate, phase.noise_multiplier * factor, phase.steps) for phase in phases)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("phases", [(Phase(0.04, 1.0, 500),), FALLING], ids=["constant", "falling"])
def test_a_scale_is_smallest_and_never_over_target(phases, how):
    factor = scale_for(3.0, phases, 1e-5, **how)
    assert epsilon_of(scaled(phases, factor), 1e-5, **how) <= 3.0
    assert epsilon_of(scaled(phases, factor * 0.999), 1e-5, **how) > 3.0
    assert factor == float(f"{factor:.5g}")


def test_noise_is_a_scale_of_one():
    assert noise_for(8.0, 0.04, 2250, 1e-5) == scale_for(8.0, (Phase(0.04, 1.0, 2250),), 1e-5)


# Opacus's tests (ε = 8, q = .04, 90 epochs of 25 batches, and 2000 steps) by RDP, whose search stops within 0.01 of ε.
@pytest.mark.parametrize(("steps", "sigma"), [(2250, 1.416), (2000, 1.3562)])
def test_noise_by_rdp_meets_published_values(steps, sigma):
    found = scale_for(8.0, (Phase(0.04, 1.0, steps),), 1e-5, accountant="rdp")
    assert found <= sigma <= found * 1.002


def test_noises_too_far_apart_to_be_scaled():
    with pytest.raises(ValueError, match="too far apart"):
        scale_for(1.0, (Phase(0.1, 1e-3, 10), Phase(0.1, 100.0, 10)), 1e-5)
    with pytest.raises(ValueError, match=r"noise_multiplier=0 must be above 0"):
        scale_for(1.0, (Phase(0.1, 0.0, 10),), 1e-5)


@pytest.mark.parametrize("target", [math.inf, math.nan, 0.0])
def test_a_target_must_be_a_number_above_0(target):
    with pytest.raises(ValueError, match="target_epsilon"):
        scale_for(target, FALLING, 1e-5)


def test_schedules_out_of_reach_name_the_noise_at_its_bound():
    with pytest.raises(OutOfReach, match=r"even noise_multiplier=1000 spends"):
        scale_for(1e-4, FALLING, 1e-5)
    with pytest.raises(OutOfReach, match=r"noise_multiplier=0\.05, next to none"):
        scale_for(1000.0, (Phase(0.001, 2.0, 1), Phase(0.001, 1.0, 1)), 1e-5)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("phases", [(Phase(0.04, 1.5, 2250),), FALLING], ids=["constant", "falling"])
@pytest.mark.parametrize("limit", [1.5, 3.0])
def test_steps_within_a_limit_are_exact(phases, how, limit):
    steps = steps_within(limit, phases, 1e-5, **how)
    assert 0 < steps < total_steps(phases)
    assert epsilon_of(first_steps(phases, steps), 1e-5, **how) <= limit
    assert epsilon_of(first_steps(phases, steps + 1), 1e-5, **how) > limit


def test_steps_within_limits_at_both_ends():
    phases = (Phase(0.04, 1.5, 300),)
    whole = epsilon_of(phases, 1e-5)
    first = epsilon_of(first_steps(phases, 1), 1e-5)
    assert steps_within(whole, phases, 1e-5) == 300
    assert steps_within(whole - 1e-9, phases, 1e-5) == 299
    assert steps_within(first, phases, 1e-5) >= 1
    assert steps_within(first * 0.99, phases, 1e-5) == 0


def test_a_step_without_noise_ends_what_a_limit_allows():
    assert steps_within(5.0, (Phase(0.04, 1.5, 30), Phase(0.04, 0.0, 5)), 1e-5) == 30
    assert steps_within(5.0, (Phase(0.04, 0.0, 5),), 1e-5) == 0


def test_very_many_steps_are_searched_quickly():
    phases = (Phase(0.001, 1.0, 10**7),)
    steps = steps_within(2.0, phases, 1e-5)
    assert epsilon_of(first_steps(phases, steps), 1e-5) <= 2.0 < epsilon_of(first_steps(phases, steps + 1), 1e-5)


def test_a_limit_must_be_above_0():
    with pytest.raises(ValueError, match="limit=0"):
        steps_within(0.0, FALLING, 1e-5)
