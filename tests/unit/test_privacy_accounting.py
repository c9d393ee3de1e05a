"""ε, δ, σ and the curve against published values and against dp-accounting itself."""

from __future__ import annotations

import math
import time

import dp_accounting
import numpy as np
import pytest

from privlab.privacy import (
    MOST_NOISE,
    OutOfReach,
    PrivacyPlan,
    delta_for,
    epsilon,
    epsilon_curve,
    logged_steps,
    noise_for,
    upper_epsilon,
)

# q, σ, T, δ, RDP ε, PLD ε. Sources: Opacus accountants_test (rows 1, 2), tensorflow-privacy compute_dp_sgd_privacy_test
# (3, 4), dp-accounting's tests (5, 6); the others were computed with Opacus 1.6.0 and dp-accounting 0.6.
GOLDEN = [
    (0.04, 1.5, 2250, 1e-5, 7.32911117, 6.7688),
    (0.04, 1.5, 2249, 1e-5, 7.3273, 6.7671),
    (0.0025, 1.3, 6000, 1e-5, 0.72422340, 0.6401),
    (0.001, 1, 30000, 1e-7, 1.41549885, 1.0982),
    (0.01, 0.7, 120, 1e-5, 3.2392676, 2.4612381),
    (1, 4.530877117, 1, 1e-6, 1.000000, 0.9274),
    (0.004, 1.1, 15000, 1e-5, 2.5029, 2.2955),
    (0.08192, 10, 875, 1e-5, 0.9877, 0.9028),
    (0.08192, 3, 2500, 1e-5, 7.0985, 6.5789),
    (0.328, 9.4, 2000, 1e-5, 7.9998, 7.4337),
    (0.01, 4, 10000, 1e-5, 1.0355, 0.9470),
    (0.02, 4, 5000, 1e-6, 1.7028, 1.5820),
    (1, 5, 100, 1e-5, 10.7255, 9.9973),
]


def reference(q: float, sigma: float, steps: int, spacing: float = 1e-4) -> dp_accounting.pld.PLDAccountant:
    """dp-accounting's own accountant after ``steps`` steps."""
    accountant = dp_accounting.pld.PLDAccountant(value_discretization_interval=spacing)
    event = dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(sigma))
    return accountant.compose(event, steps)


def plan_of(q: float, sigma: float, steps: int, delta: float = 1e-5, accountant: str = "pld") -> PrivacyPlan:
    return PrivacyPlan(1_000_000, round(q * 1_000_000), steps, sigma, 1.0, delta, accountant)


@pytest.mark.parametrize(("q", "sigma", "steps", "delta", "_rdp", "pld"), GOLDEN)
def test_pld_meets_published_values(q, sigma, steps, delta, _rdp, pld):
    assert epsilon(q, sigma, steps, delta) == pytest.approx(pld, abs=1e-3)


@pytest.mark.parametrize(("q", "sigma", "steps", "delta", "_rdp", "_pld"), GOLDEN)
def test_pld_is_that_of_dp_accounting(q, sigma, steps, delta, _rdp, _pld):
    assert epsilon(q, sigma, steps, delta) == pytest.approx(reference(q, sigma, steps).get_epsilon(delta), abs=1e-6)


@pytest.mark.parametrize(("q", "sigma", "steps", "delta", "rdp", "_pld"), GOLDEN)
def test_rdp_meets_published_values(q, sigma, steps, delta, rdp, _pld):
    # dp-accounting's value in row 5 rests on its upper bound at fractional orders; the exact integral is 7.5e-5 less.
    within = {3.2392676: 1e-4, 1.000000: 1e-6, 7.32911117: 1e-8, 0.72422340: 1e-8, 1.41549885: 1e-8}.get(rdp, 5.1e-5)
    assert epsilon(q, sigma, steps, delta, accountant="rdp") == pytest.approx(rdp, abs=within)


def test_the_tight_bold_value_to_all_its_digits():
    assert epsilon(0.01, 0.7, 120, 1e-5) == pytest.approx(2.4612381, abs=5e-8)


def test_the_central_limit_would_understate():
    assert epsilon(0.01, 0.7, 120, 1e-5) > 2.3 * 1.063


@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_rdp_of_few_steps_is_not_absurdly_loose(sigma):
    tight, loose = (epsilon(0.08, sigma, 1, 1e-5, accountant) for accountant in ("pld", "rdp"))
    assert tight < loose < 3 * tight


def test_rdp_is_the_library_s_at_whole_orders():
    accountant = dp_accounting.rdp.RdpAccountant(orders=[2, 3, 5, 8, 16, 32, 64])
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.02, dp_accounting.GaussianDpEvent(4)), 5000)
    assert epsilon(0.02, 4, 5000, 1e-6, "rdp") <= accountant.get_epsilon(1e-6)


@pytest.mark.parametrize("delta", [1e-8, 1e-10])
def test_small_delta(delta):
    found = epsilon(0.01, 1, 1000, delta)
    assert found == pytest.approx(reference(0.01, 1, 1000).get_epsilon(delta), rel=3e-5)
    assert found < epsilon(0.01, 1, 1000, delta, "rdp")


def test_full_batch_is_the_plain_gaussian():
    exact = dp_accounting.get_epsilon_gaussian(5 / math.sqrt(100), 1e-5)
    assert epsilon(1, 5, 100, 1e-5) == pytest.approx(exact, abs=1e-5)
    assert epsilon(1, 5, 100, 1e-5) >= exact - 1e-8


def test_delta_meets_the_published_value():
    assert delta_for(1.0, 0.2, 0.5, 3) == pytest.approx(0.15594, abs=2e-5)
    assert delta_for(1.0, 0.2, 0.5, 3) == pytest.approx(reference(0.2, 0.5, 3).get_delta(1.0), abs=1e-6)


def test_delta_and_epsilon_are_inverse():
    assert delta_for(epsilon(0.04, 1.5, 2250, 1e-5), 0.04, 1.5, 2250) == pytest.approx(1e-5, rel=1e-3)


def test_without_noise_there_is_no_bound():
    assert epsilon(0.1, 0, 10, 1e-5) == math.inf
    assert delta_for(5.0, 0.1, 0, 10) == 1.0


def test_so_much_noise_that_delta_alone_covers_it():
    assert epsilon(0.001, 1000, 1, 1e-5) == 0.0


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((0, 1, 10, 1e-5), "sample_rate=0"),
        ((1.1, 1, 10, 1e-5), "sample_rate=1.1"),
        ((0.1, 0.01, 10, 1e-5), "noise_multiplier=0.01 .* 0.05"),
        ((0.1, 2000, 10, 1e-5), "noise_multiplier=2000 .* 1000"),
        ((0.1, 1, 0, 1e-5), "steps=0"),
        ((0.1, 1, 10, 1e-11), "delta=1e-11 .* 1e-10"),
        ((0.1, 1, 10, 1.0), "delta=1"),
        ((0.1, 1, 10, 1e-5, "clt"), "accountant='clt' .* pld, rdp"),
    ],
)
def test_values_out_of_range_are_named(values, named):
    with pytest.raises(ValueError, match=named):
        epsilon(*values)


# σ for ε = 8 at q = .04 (Opacus's tests): RDP 1.416 and PRV 1.34765625 for 2250 steps, 1.3562 and 1.2915 for 2000.
@pytest.mark.parametrize(("steps", "rdp", "prv"), [(2250, 1.416, 1.34765625), (2000, 1.3562, 1.2915)])
def test_noise_for_a_target_meets_published_values(steps, rdp, prv):
    sigma = noise_for(8.0, 0.04, steps, 1e-5)
    assert prv - 4e-3 < sigma < prv < rdp
    assert epsilon(0.04, rdp, steps, 1e-5, "rdp") == pytest.approx(8.0, abs=0.02)


@pytest.mark.parametrize(
    ("target", "q", "steps", "delta"),
    [(3, 0.0683, 396, 1e-5), (1, 0.178, 168, 1e-4), (0.5, 0.0025, 6000, 1e-5), (8, 1, 100, 1e-5), (50, 0.001, 1, 1e-5)],
)
def test_noise_for_is_smallest_and_never_over_target(target, q, steps, delta):
    sigma = noise_for(target, q, steps, delta)
    assert epsilon(q, sigma, steps, delta) <= target < epsilon(q, sigma * 0.999, steps, delta)
    assert sigma == float(f"{sigma:.5g}")


def test_noise_for_keeps_to_the_target_by_the_library_s_count_too():
    assert reference(0.04, noise_for(2.0, 0.04, 1000, 1e-5), 1000).get_epsilon(1e-5) <= 2.0


def test_a_target_that_no_noise_reaches():
    with pytest.raises(
        OutOfReach, match=r"target_epsilon=0\.0001 .* noise_multiplier=1000 spends ε=0\.0297?"
    ) as caught:
        noise_for(1e-4, 0.1, 10_000, 1e-5)
    assert caught.value.at_most == pytest.approx(epsilon(0.1, MOST_NOISE, 10_000, 1e-5), rel=1e-3)


def test_a_target_that_hardly_any_noise_meets():
    with pytest.raises(OutOfReach, match=r"target_epsilon=1000 .* noise_multiplier=0\.05.* ε=238\.7"):
        noise_for(1000, 0.001, 1, 1e-5)


def test_a_target_at_the_very_end_of_reach_settles():
    end = upper_epsilon(0.1, MOST_NOISE, 1000, 1e-5)
    assert noise_for(end * 1.0001, 0.1, 1000, 1e-5) <= MOST_NOISE
    with pytest.raises(OutOfReach):
        noise_for(end * 0.9999, 0.1, 1000, 1e-5)


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan])
def test_a_target_must_be_positive(target):
    with pytest.raises(ValueError, match="target_epsilon"):
        noise_for(target, 0.1, 100, 1e-5)


@pytest.mark.parametrize(
    ("q", "sigma", "steps"), [(0.0683, 3, 396), (0.04, 1.5, 2250), (0.0025, 1.3, 6000), (1, 8, 90)]
)
def test_curve_never_understates_and_ends_exactly(q, sigma, steps):
    plan = plan_of(q, sigma, steps)
    logged = logged_steps(steps, 60)
    curve = epsilon_curve(plan, logged)
    single = np.array([epsilon(plan.sample_rate, sigma, step, 1e-5) for step in logged])
    assert curve[-1] == single[-1] == plan.epsilon
    assert (curve >= single - 1e-8).all()
    assert (curve <= single * (1 + 1e-4) + 2e-6).all()
    assert (np.diff(curve) > 0).all()


def test_curve_stands_above_the_library():
    logged = (1, 7, 40, 120)
    curve = epsilon_curve(plan_of(0.01, 0.7, 120), logged)
    assert all(
        found >= reference(0.01, 0.7, step).get_epsilon(1e-5) - 1e-7 for step, found in zip(logged, curve, strict=True)
    )


def test_preview_is_near_and_above():
    plan = plan_of(0.04, 1.5, 2250)
    logged = logged_steps(2250, 30)
    exact, preview = epsilon_curve(plan, logged), epsilon_curve(plan, logged, preview=True)
    assert (preview >= exact - 1e-8).all()
    assert (preview <= exact * (1 + 1e-3) + 1e-4).all()


def test_rdp_curve_is_the_single_values():
    plan = plan_of(0.04, 1.5, 2250, accountant="rdp")
    assert epsilon_curve(plan, [1, 100, 2250]).tolist() == [
        epsilon(0.04, 1.5, step, 1e-5, "rdp") for step in (1, 100, 2250)
    ]


def test_curve_takes_steps_in_any_order_and_does_not_let_itself_be_changed():
    plan = plan_of(0.04, 1.5, 100)
    forwards, backwards = epsilon_curve(plan, [1, 50, 100]), epsilon_curve(plan, [100, 50, 1])
    assert forwards.tolist() == backwards[::-1].tolist()
    with pytest.raises(ValueError, match="read-only"):
        forwards[0] = 0.0


@pytest.mark.parametrize(
    "plan", [PrivacyPlan(100, 10, 50, 0.0, 1.0, 1e-5), PrivacyPlan(100, 10, 50, 2.0, None, 1e-5)], ids=["σ=0", "no C"]
)
def test_curve_without_a_guarantee_is_infinite(plan):
    assert epsilon_curve(plan, [1, 25, 50]).tolist() == [math.inf] * 3
    assert plan.epsilon == math.inf


def test_curve_of_no_steps_and_of_wrong_steps():
    plan = plan_of(0.04, 1.5, 100)
    assert epsilon_curve(plan, []).shape == (0,)
    with pytest.raises(ValueError, match="step=0"):
        epsilon_curve(plan, [0, 5])
    with pytest.raises(ValueError, match="accountant='clt'"):
        epsilon_curve(plan_of(0.04, 1.5, 100, accountant="clt"), [5])


def test_beyond_reckoning_is_infinite_and_quick():
    began = time.perf_counter()
    assert epsilon(0.5, 0.05, 1_000_000, 1e-5) == math.inf
    assert delta_for(1.0, 0.5, 0.05, 1_000_000) == 1.0
    assert 2500 < epsilon(0.5, 0.3, 1000, 1e-5) < 2750
    assert time.perf_counter() - began < 5


def test_a_wide_grid_still_agrees():
    assert epsilon(0.01, 0.3, 1000, 1e-5) == pytest.approx(69.81571, rel=1e-5)


def test_a_curve_costs_little():
    # 0.03 to 0.1 s of one core; twelve-fold slack for a busy machine.
    plan = plan_of(0.0341, 1.8084, 1172)
    began = time.process_time()
    epsilon_curve(plan, logged_steps(1172, 60))
    assert time.process_time() - began < 1.5
