"""What rounded noise costs: pinned values, limits, and the inverse."""

from __future__ import annotations

import math

import pytest

from privlab.privacy.rounding import (
    CLAIMED,
    RELATIVE_ERROR,
    SUPPORT,
    rounded_noise_multiplier,
    rounding_slack,
    unrounded_noise_multiplier,
)


@pytest.mark.parametrize(
    ("sigma", "dimension", "share"),
    [(1.0, 1, 2.6341e-9), (1.1, 26010, 3.30414e-7), (10.0, 7850, 1.65040e-6), (4.0, 10**6, 7.45058e-6)],
)
def test_share_of_sigma_lost(sigma: float, dimension: int, share: float) -> None:
    counted = rounded_noise_multiplier(sigma, dimension)
    assert counted < sigma
    assert sigma / counted - 1 == pytest.approx(share, rel=1e-4)


def test_sensitivity_is_what_two_roundings_can_do() -> None:
    """In grid steps: 1/σ for the record, and two units for each of d + 1 coordinates."""
    sigma, d, steps = 0.7, 999, 2.0**30
    assert steps / rounded_noise_multiplier(sigma, d) == pytest.approx(steps / sigma + 2 * math.sqrt(1000), rel=1e-15)


@pytest.mark.parametrize("sigma", [0.05, 0.7, 1.1, 37.0, 1000.0])
@pytest.mark.parametrize("dimension", [1, 7850, 10**8])
def test_inverse_never_counts_as_less(sigma: float, dimension: int) -> None:
    noise = unrounded_noise_multiplier(sigma, dimension)
    assert rounded_noise_multiplier(noise, dimension) >= sigma
    assert rounded_noise_multiplier(noise, dimension) == pytest.approx(sigma, rel=1e-12)


def test_slack_is_pinned() -> None:
    epsilon, delta = rounding_slack(26010, 2000, 1e-5)
    assert epsilon == pytest.approx(2 * 26011 * 2000 * 2**-48, rel=1e-9)
    assert epsilon == pytest.approx(3.6964e-7, rel=1e-4)
    assert delta == pytest.approx(1.8482e-12, rel=1e-4)
    # The part of δ that stays when δ itself is tiny is the tail beyond 14 deviations.
    assert rounding_slack(1, 1, 1e-300)[1] == pytest.approx(2 * 1.558707e-44, rel=1e-3)


def test_slack_grows_with_draws() -> None:
    base = rounding_slack(1000, 100, 1e-5)
    for more in (rounding_slack(1001, 100, 1e-5), rounding_slack(1000, 101, 1e-5)):
        assert more[0] > base[0] and more[1] > base[1]


def test_sampled_range_holds_the_furthest_neighbours() -> None:
    """Replacing a record moves a coordinate by up to 2/σ deviations, and σ is at least 0.05."""
    assert SUPPORT - 2 / 0.05 - 2.0**-8 > CLAIMED
    assert RELATIVE_ERROR == 2.0**-48


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rounded_noise_multiplier(0.0, 5), "noise_multiplier=0 must be above 0"),
        (lambda: rounded_noise_multiplier(float("nan"), 5), "noise_multiplier=nan"),
        (lambda: rounded_noise_multiplier(1.0, 0), "dimension=0 must be at least 1"),
        (lambda: unrounded_noise_multiplier(0.0, 5), "accounted=0 must be above 0"),
        (lambda: unrounded_noise_multiplier(1e6, 10**6), "beyond what the grid can carry"),
        (lambda: rounding_slack(5, 0, 1e-5), "steps=0 must be at least 1"),
        (lambda: rounding_slack(5, 1, 0.0), "delta=0 must lie above 0"),
        (lambda: rounding_slack(5, 1, 1.0), "delta=1 must lie above 0"),
    ],
)
def test_refusals_name_value_and_bound(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
