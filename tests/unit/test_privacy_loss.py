"""The loss distribution itself, on mechanisms whose answers are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from privlab.privacy.composition import Composition, Grid
from privlab.privacy.loss import Loss
from privlab.privacy.pair import Pair, Step
from privlab.privacy.phases import Phase
from privlab.privacy.rdp import ORDERS, step_divergences


def flipped_coin(epsilon: float, infinity: float, spacing: float = 0.25) -> Loss:
    """Randomised response at ``epsilon``, a multiple of ``spacing``, that fails openly with chance ``infinity``."""
    reach = round(epsilon / spacing)
    probs = np.zeros(2 * reach + 1)
    probs[-1] = (1 - infinity) / (1 + math.exp(-epsilon))
    probs[0] = (1 - infinity) * math.exp(-epsilon) / (1 + math.exp(-epsilon))
    return Loss(-reach, probs, infinity, spacing)


@pytest.mark.parametrize("infinity", [0.0, 0.01])
def test_flipped_coin(infinity):
    loss = flipped_coin(1.0, infinity)
    truth = 1 / (1 + math.exp(-1))
    assert loss.delta(1.0) == pytest.approx(infinity)
    assert loss.delta(0.0) == pytest.approx(infinity + (1 - infinity) * (2 * truth - 1))
    assert loss.epsilon(infinity + 1e-12) == pytest.approx(1.0)
    assert loss.delta(loss.epsilon(0.2)) == pytest.approx(0.2)
    assert loss.epsilon(loss.delta(0.0) + 1e-9) == 0.0
    # Up to the coin's own rate of false alarms the trade-off curve is a line of slope e.
    assert loss.true_positive_rates(np.array([0.1]))[0] == pytest.approx(infinity + math.e * 0.1)


def test_more_infinite_mass_than_delta_has_no_bound():
    assert flipped_coin(1.0, 0.01).epsilon(0.005) == math.inf


def test_losses_far_apart_do_not_overflow():
    loss = flipped_coin(2000.0, 0.0, spacing=1.0)
    assert loss.epsilon(1e-5) == pytest.approx(2000.0)
    assert loss.delta(1000.0) == pytest.approx(1.0)


@pytest.mark.parametrize("adding", [False, True])
@pytest.mark.parametrize(("q", "sigma"), [(0.01, 0.7), (0.3, 5.0), (1.0, 2.0)])
def test_one_step_is_exact_at_grid_points(q, sigma, adding):
    loss = Step(q, sigma, Pair(0, 1) if adding else Pair(1, 0)).loss(1e-3)
    y = np.linspace(-15 * sigma, 15 * sigma + 1, 400_001)
    without, within = norm.pdf(y, 0, sigma), (1 - q) * norm.pdf(y, 0, sigma) + q * norm.pdf(y, 1, sigma)
    upper, lower = (without, within) if adding else (within, without)
    for epsilon in (-0.005, 0.0, 0.004, 0.05):
        exact = np.maximum(upper - math.exp(epsilon) * lower, 0).sum() * (y[1] - y[0])
        assert loss.delta(epsilon) == pytest.approx(exact, abs=2e-7)
    assert loss.probs.sum() + loss.infinity == pytest.approx(1.0, abs=1e-6)
    assert loss.probs.min() >= 0


PAIRS = (Pair(1, 0), Pair(0, 1))


def test_composition_keeps_all_mass_and_counts_what_it_cuts():
    composition = Composition((Phase(0.05, 1.2, 500),), PAIRS, Grid(20.0, 2**16), 1)
    for steps in (2, 7, 500):
        for loss in composition.after(steps):
            assert loss.probs.sum() + loss.infinity == pytest.approx(1.0, abs=1e-6)
            assert loss.infinity >= 1e-14


def test_composition_is_convolution_of_different_steps():
    phases = (Phase(0.2, 2.0, 2), Phase(0.1, 1.5, 1))
    composition = Composition(phases, PAIRS, Grid(20.0, 2**16), 3)
    for pair, composed in zip(PAIRS, composition.after(3), strict=True):
        one, other = (
            Step(phase.sample_rate, phase.noise_multiplier, pair).loss(composition.spacing) for phase in phases
        )
        direct = np.convolve(np.convolve(one.probs, one.probs), other.probs)
        offset = composed.first - 2 * one.first - other.first
        assert composed.probs == pytest.approx(direct[offset : offset + len(composed.probs)], abs=1e-13)


@pytest.mark.parametrize("steps", [0, 4])
def test_steps_that_are_not_there_are_refused(steps):
    with pytest.raises(ValueError, match=f"steps={steps}"):
        Composition((Phase(0.2, 2.0, 3),), PAIRS, Grid(20.0, 2**16), 1).after(steps)


def test_a_grid_is_not_longer_than_asked():
    for loss in Composition((Phase(0.04, 1.5, 2000),), PAIRS, Grid(None, 2**13), 1).after(2000):
        assert len(loss.probs) <= 1.5 * 2**13


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.5, 2.0, 50.0])
@pytest.mark.parametrize("q", [1e-3, 0.3, 1.0])
def test_rényi_divergence_of_order_two_has_a_closed_form(q, sigma):
    found = step_divergences(q, sigma)[ORDERS.index(2)]
    assert found == pytest.approx(math.log1p(q**2 * math.expm1(1 / sigma**2)), rel=1e-6, abs=1e-14)


@pytest.mark.parametrize("pair", [*PAIRS, Pair(1, 1), Pair(3, 0), Pair(0, 3), Pair(2, 2)])
@pytest.mark.parametrize(
    ("q", "sigma", "spacing"), [(0.01, 0.7, 1e-3), (1.0, 0.128, 0.3), (1e-9, 0.25, 1e-3), (0.93, 1.0, 1e-3)]
)
def test_a_step_s_mass_is_one_to_the_last_digits(pair, q, sigma, spacing):
    # Rounding errors here are multiplied by the number of steps.
    loss = Step(q, sigma, pair).loss(spacing)
    assert math.fsum(loss.probs) + loss.infinity == pytest.approx(1.0, abs=1e-11)


def test_rounding_is_not_multiplied_by_the_steps():
    # Against the same convolution in extended precision throughout; in doubles the error is 1.4e-6.
    found = Composition((Phase(0.001, 1.0, 30_000),), PAIRS, Grid(None, 2**19), 30_000).worst(
        [30_000], lambda loss: loss.epsilon(1e-7), math.inf
    )
    assert found[0] == pytest.approx(1.09819901, abs=1e-8)


def test_the_output_at_a_loss_is_found_for_every_pair():
    for pair in (Pair(1, 0), Pair(0, 1), Pair(1, 1), Pair(4, 0), Pair(0, 4), Pair(3, 3)):
        for q, sigma in ((0.3, 5.0), (0.01, 0.7), (1.0, 2.0)):
            step = Step(q, sigma, pair)
            outputs = np.linspace(-2 * sigma, 2 * sigma, 101)
            losses = step.log_ratio(outputs)
            assert step.log_ratio(step._cuts(losses)) == pytest.approx(losses, abs=1e-9)
