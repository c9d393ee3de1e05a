"""Laws that hold for every mechanism: monotone, calibrated, never understating."""

from __future__ import annotations

import json
import math
import signal
from contextlib import contextmanager
from itertools import pairwise

import dp_accounting
import numpy as np
import pytest
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
from privlab.privacy.accounting import (
    LEAST_NOISE,
    MOST_NOISE,
    curve_of,
    delta_of,
    epsilon_of,
    losses_of,
    upper_epsilon_of,
)
from privlab.privacy.calibration import scale_for, steps_within
from privlab.privacy.composition import Composition, Grid
from privlab.privacy.odds import trade_off
from privlab.privacy.pair import Pair
from privlab.privacy.phases import Phase, first_steps, total_steps

rates = st.floats(1e-3, 1.0)
noises = st.floats(0.6, 30.0)
steps = st.integers(1, 3000)
deltas = st.floats(1e-8, 1e-3)
few = settings(max_examples=25, deadline=None)

phase_of = st.builds(Phase, st.floats(5e-3, 0.5), st.floats(0.8, 10.0), st.integers(1, 200))
mixed = st.lists(phase_of, min_size=1, max_size=4).map(tuple)
#: Anything that the accountants let in.
any_phase = st.builds(
    Phase,
    st.floats(1e-9, 1.0) | st.sampled_from([1e-300, 1.0]),
    st.floats(math.log(LEAST_NOISE), math.log(MOST_NOISE)).map(
        lambda x: min(max(math.exp(x), LEAST_NOISE), MOST_NOISE)
    ),
    st.integers(0, 24).map(lambda power: 2**power) | st.integers(1, 10**6),
)
anything = st.lists(any_phase, min_size=1, max_size=6).map(tuple)
adjacencies = st.sampled_from(["add-or-remove-one", "replace-one"])
accountants = st.sampled_from(["pld", "rdp"])
#: Seconds that any one question may take on a busy machine; they take well below one.
BOUND = 60


@contextmanager
def bounded(case):
    """Fail, naming ``case``, rather than hang."""

    def ring(signum, frame):
        raise AssertionError(f"not done after {BOUND} s: {case}")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(BOUND)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


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


@settings(max_examples=12, deadline=None)
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


@settings(max_examples=15, deadline=None)
@given(st.floats(2e-3, 1.0), noises, steps, deltas)
def test_a_curve_never_understates(q, sigma, count, delta):
    plan = PrivacyPlan(10**6, round(q * 10**6), count, sigma, 1.0, delta)
    logged = logged_steps(count, 5)
    curve = epsilon_curve(plan, logged)
    single = [epsilon(plan.sample_rate, sigma, step, delta) for step in logged]
    assert curve[-1] == single[-1]
    assert (curve >= np.array(single) * (1 - 1e-7) - 1e-8).all()
    assert (epsilon_curve(plan, logged, preview=True) >= np.array(single) * (1 - 1e-7) - 1e-8).all()


@settings(max_examples=20, deadline=None)
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


# Different steps together ----------------------------------------------------------------------------------------------


@few
@given(mixed, deltas, st.randoms(use_true_random=False), accountants)
def test_order_and_splitting_change_nothing(phases, delta, random, accountant):
    parts = [part for phase in phases for part in split(phase, random)]
    random.shuffle(parts)
    assert epsilon_of(parts, delta, accountant=accountant) == pytest.approx(
        epsilon_of(phases, delta, accountant=accountant), rel=1e-12
    )


def split(phase, random):
    if phase.steps == 1:
        return [phase]
    first = random.randint(1, phase.steps - 1)
    return [Phase(phase.sample_rate, phase.noise_multiplier, steps) for steps in (first, phase.steps - first)]


@settings(max_examples=15, deadline=None)
@given(mixed, deltas)
def test_composition_is_the_sum_of_its_parts(phases, delta):
    # The losses add: their mean and, for independent steps, every cumulant of the whole is the sum over the parts.
    def mean(loss):
        return float(loss.losses() @ loss.probs)

    whole = losses_of(phases)
    parts = [losses_of((phase,)) for phase in phases]
    for direction, loss in enumerate(whole):
        expected = sum(mean(part[min(direction, len(part) - 1)]) for part in parts)
        assert mean(loss) == pytest.approx(expected, rel=2e-3, abs=1e-4)
    for phase in phases:
        assert epsilon_of(phases, delta) >= epsilon_of((phase,), delta) * (1 - 1e-3) - 1e-6


@few
@given(mixed, deltas, adjacencies, st.integers(1, 500), st.floats(1.01, 1.3))
def test_different_steps_are_monotone(phases, delta, adjacency, more, factor):
    how = {"adjacency": adjacency}
    spent = epsilon_of(phases, delta, **how)
    first, rest = phases[0], phases[1:]
    longer = Phase(first.sample_rate, first.noise_multiplier, first.steps + more)
    oftener = Phase(min(1.0, first.sample_rate * factor), first.noise_multiplier, first.steps)
    noisier = Phase(first.sample_rate, first.noise_multiplier * factor, first.steps)
    # The tolerance allows for a grid that doubles its spacing in between.
    assert epsilon_of((longer, *rest), delta, **how) >= spent * (1 - 1e-3)
    assert epsilon_of((oftener, *rest), delta, **how) >= spent * (1 - 1e-3)
    assert epsilon_of((noisier, *rest), delta, **how) <= spent * (1 + 1e-3)


@settings(max_examples=12, deadline=None)
@given(mixed, st.floats(1e-7, 1e-3), adjacencies)
def test_different_steps_agree_with_dp_accounting(phases, delta, adjacency):
    relation = dp_accounting.NeighboringRelation
    accountant = dp_accounting.pld.PLDAccountant(
        relation.ADD_OR_REMOVE_ONE if adjacency == "add-or-remove-one" else relation.REPLACE_ONE
    )
    for phase in phases:
        event = dp_accounting.PoissonSampledDpEvent(
            phase.sample_rate, dp_accounting.GaussianDpEvent(phase.noise_multiplier)
        )
        accountant.compose(event, phase.steps)
    reference = accountant.get_epsilon(delta)
    found = epsilon_of(phases, delta, adjacency=adjacency)
    assert -1e-6 <= found - reference <= 1e-6 + (1e-3 * reference if reference > 15 else 0)


@settings(max_examples=15, deadline=None)
@given(mixed, deltas, adjacencies, accountants, st.floats(0.1, 15.0))
def test_scaling_then_accounting_gives_the_target(phases, delta, adjacency, accountant, target):
    how = {"accountant": accountant, "adjacency": adjacency}
    try:
        factor = scale_for(target, phases, delta, **how)
    except OutOfReach as error:
        assert target > error.at_least or target < error.at_most * 1.0001
        return
    scaled = [
        tuple(Phase(p.sample_rate, max(p.noise_multiplier * f, LEAST_NOISE), p.steps) for p in phases)
        for f in (factor, factor * 0.999)
    ]
    assert epsilon_of(scaled[0], delta, **how) <= target < epsilon_of(scaled[1], delta, **how) * (1 + 1e-6)


@settings(max_examples=15, deadline=None)
@given(mixed, deltas, accountants, st.floats(0.05, 20.0))
def test_steps_within_a_limit_are_the_most(phases, delta, accountant, limit):
    steps = steps_within(limit, phases, delta, accountant=accountant)
    if steps:
        assert epsilon_of(first_steps(phases, steps), delta, accountant=accountant) <= limit
    if steps < total_steps(phases):
        assert epsilon_of(first_steps(phases, steps + 1), delta, accountant=accountant) > limit


# Everything that is let in ----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(anything, st.floats(1e-10, 0.9), accountants, adjacencies, st.integers(1, 20) | st.sampled_from([1, 1000]))
def test_any_training_is_accounted_without_nan_or_hang(phases, delta, accountant, adjacency, group):
    case = f"{phases} delta={delta} {accountant} {adjacency} group_size={group}"
    how = {"adjacency": adjacency, "group_size": group}
    with bounded(case):
        spent = epsilon_of(phases, delta, accountant=accountant, **how)
        assert spent >= 0, case
        quick = upper_epsilon_of(phases, delta, **how)
        assert quick >= 0, case
        curve = curve_of(phases, [1, total_steps(phases)], delta, accountant=accountant, **how)
        assert 0 <= curve[0] <= curve[1] == spent, case
        assert 0 <= delta_of(phases, 1.0, accountant=accountant, **how) <= 1, case
        hits = trade_off(phases, [0.0, 0.001, 0.5, 1.0], **how)
        assert (hits >= [0.0, 0.001, 0.5, 1.0]).all() and (np.diff(hits) >= -1e-9).all() and hits[-1] == 1.0, case


@settings(max_examples=10, deadline=None)
@given(anything, st.floats(1e-10, 0.5), st.floats(1e-3, 1e3), adjacencies)
def test_any_target_and_limit_is_answered(phases, delta, target, adjacency):
    case = f"{phases} delta={delta} target={target} {adjacency}"
    with bounded(case):
        try:
            assert 0 < scale_for(target, phases, delta, adjacency=adjacency) < math.inf, case
        except (OutOfReach, ValueError) as error:
            assert "cannot be met" in str(error) or "too far apart" in str(error), case
        assert 0 <= steps_within(target, phases, delta, adjacency=adjacency) <= total_steps(phases), case
