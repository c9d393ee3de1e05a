"""Laws that hold for every mechanism: monotone, calibrated, never understating."""

from __future__ import annotations

import json
from itertools import pairwise

import dp_accounting
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from privlab.privacy import (
    OutOfReach,
    PrivacyPlan,
    epsilon,
    epsilon_curve,
    logged_steps,
    noise_for,
    odds,
    upper_epsilon,
)
from privlab.privacy.composition import Composition, Grid
from privlab.privacy.pair import Pair
from privlab.privacy.phases import Phase

rates = st.floats(1e-3, 1.0)
noises = st.floats(0.6, 30.0)
steps = st.integers(1, 3000)
deltas = st.floats(1e-8, 1e-3)
few = settings(max_examples=25, deadline=5000)


@few
@given(rates, noises, steps, deltas, st.integers(1, 500))
def test_more_steps_cost_more(q, sigma, count, delta, more):
    assert epsilon(q, sigma, count + more, delta) >= epsilon(q, sigma, count, delta) - 1e-9


@few
@given(st.floats(1e-3, 0.9), noises, steps, deltas, st.floats(1.01, 1.1))
def test_a_higher_sampling_rate_costs_more(q, sigma, count, delta, factor):
    # The tolerance allows for a grid that doubles its spacing in between.
    assert epsilon(q * factor, sigma, count, delta) >= epsilon(q, sigma, count, delta) * (1 - 1e-4)


@few
@given(rates, noises, steps, deltas, st.floats(1.01, 1.5))
def test_more_noise_costs_less(q, sigma, count, delta, factor):
    assert epsilon(q, sigma * factor, count, delta) <= epsilon(q, sigma, count, delta) * (1 + 1e-4)


@few
@given(st.floats(0.02, 1.0), st.floats(0.6, 10.0), steps, deltas)
def test_the_headline_is_tighter_than_the_check(q, sigma, count, delta):
    # Not so where one step's loss is as small as the grid of 1e-4 (q·σ⁻¹ below 1e-3): there the grid itself costs.
    assert epsilon(q, sigma, count, delta) <= epsilon(q, sigma, count, delta, "rdp") * 1.001 + 1e-6


@settings(max_examples=12, deadline=8000)
@given(st.floats(2e-3, 0.3), st.floats(0.8, 20.0), st.integers(1, 1500), st.floats(1e-7, 1e-3))
def test_agrees_with_dp_accounting(q, sigma, count, delta):
    accountant = dp_accounting.pld.PLDAccountant()
    accountant.compose(dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(sigma)), count)
    reference = accountant.get_epsilon(delta)
    found = epsilon(q, sigma, count, delta)
    # Where a grid of 1e-4 is too long, ours is wider, so a little above.
    assert -1e-6 <= found - reference <= 1e-6 + (1e-4 * reference if reference > 15 else 0)


@few
@given(rates, noises, steps, deltas)
def test_a_coarser_grid_never_gives_less(q, sigma, count, delta):
    fine = epsilon(q, sigma, count, delta)
    quick = upper_epsilon(q, sigma, count, delta)
    composition = Composition((Phase(q, sigma, count),), (Pair(1, 0), Pair(0, 1)), Grid(8.0, 2**12), 1)
    coarse = composition.worst([count], lambda loss: loss.epsilon(delta), 0.0)[0]
    assert fine <= quick + 1e-7 * (1 + fine)
    assert quick <= coarse + 1e-7 * (1 + quick)


@settings(max_examples=15, deadline=8000)
@given(st.floats(2e-3, 1.0), noises, steps, deltas)
def test_a_curve_never_understates(q, sigma, count, delta):
    plan = PrivacyPlan(10**6, round(q * 10**6), count, sigma, 1.0, delta)
    logged = logged_steps(count, 5)
    curve = epsilon_curve(plan, logged)
    single = [epsilon(plan.sample_rate, sigma, step, delta) for step in logged]
    assert curve[-1] == single[-1]
    assert (curve >= np.array(single) * (1 - 1e-7) - 1e-8).all()
    assert (epsilon_curve(plan, logged, preview=True) >= np.array(single) * (1 - 1e-7) - 1e-8).all()


@settings(max_examples=20, deadline=8000)
@given(st.floats(0.05, 20.0), st.floats(2e-3, 1.0), steps, deltas)
def test_calibrating_then_accounting_gives_the_target(target, q, count, delta):
    try:
        sigma = noise_for(target, q, count, delta)
    except OutOfReach as error:
        assert target > error.at_least or target < error.at_most * 1.0001
        return
    assert epsilon(q, sigma, count, delta) <= target < epsilon(q, sigma * 0.999, count, delta)


@few
@given(rates, noises, steps)
def test_odds_are_odds(q, sigma, count):
    found = odds(PrivacyPlan(10**6, round(q * 10**6), count, sigma, 1.0, 1e-6))
    assert 0 <= found.advantage <= found.advantage_of_pair + 1e-6
    assert found.advantage <= 1 and 0.001 <= found.strict_hits <= 1
    assert found.strict_hits <= found.advantage + 0.001 + 1e-6


@given(
    st.integers(1, 10**7),
    st.integers(1, 10**6),
    st.integers(1, 10**9),
    st.floats(0, 1000),
    st.none() | st.floats(1e-6, 1000),
    st.floats(1e-300, 0.999),
    st.none() | st.floats(1e-9, 1000),
)
def test_a_plan_survives_json(records, batch, count, sigma, bound, delta, target):
    plan = PrivacyPlan(records, batch, count, sigma, bound, delta, target_epsilon=target)
    assert PrivacyPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@given(st.integers(1, 10**6), st.integers(2, 2000))
def test_logged_steps_are_sorted_unique_and_hold_both_ends(count, points):
    logged = logged_steps(count, points)
    assert logged[0] == 1 and logged[-1] == count
    assert all(before < after for before, after in pairwise(logged))
    assert len(logged) <= points
