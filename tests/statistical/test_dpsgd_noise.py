"""The noise that reaches the parameters is Gaussian with standard deviation σ·C/B, drawn afresh at every step.

A right mechanism is accepted with probability at least 1 − 10⁻⁶. With n = 150,000 values the standard error of the
measured deviation is 0.18 %, so one that is 5 % off is rejected with probability above 1 − 10⁻⁶ (it lies 27 errors away).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.randomness import noise_generator
from privlab.dpsgd.step import PrivateStep
from privlab.privacy.plan import PrivacyPlan

CPU = torch.device("cpu")
PLAN = PrivacyPlan(records=100, batch_size=20, steps=5, noise_multiplier=1.7, max_grad_norm=0.3, delta=1e-5)
LIMIT = stats.norm.isf(1e-6 / 2)


def released(steps: int, seed: int | None = 11, **spoil: float) -> np.ndarray:
    """Moves of the parameters in steps with an empty batch and learning rate 1, in units of σ·C/B: (steps, d)."""
    model = nn.Sequential(nn.Linear(100, 700), nn.Linear(700, 7))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    step = PrivateStep(model, PLAN, "ghost", optimizer, noise_generator(CPU, seed), 16)
    step.check = lambda: None
    for name, factor in spoil.items():
        setattr(step.optimizer, name, getattr(step.optimizer, name) * factor)
    x, y, moves = torch.zeros(1, 100), torch.zeros(1, dtype=torch.int64), []
    for _ in range(steps):
        for p in model.parameters():
            p.data.zero_()
        step.run(x, y, torch.arange(0), PhaseClock(CPU))
        moves.append(torch.cat([p.detach().flatten() for p in model.parameters()]).double().numpy())
    return np.array(moves) * PLAN.batch_size / (PLAN.noise_multiplier * PLAN.max_grad_norm)


def z_of_deviation(values: np.ndarray) -> float:
    return (values.std() - 1) * np.sqrt(2 * values.size)


def test_deviation_is_sigma_c_over_b() -> None:
    values = released(2)
    assert values.size > 150_000
    assert abs(z_of_deviation(values)) < LIMIT
    assert abs(values.mean()) * np.sqrt(values.size) < LIMIT


@pytest.mark.parametrize("what", ["noise_multiplier", "max_grad_norm"])
@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_five_per_cent_off_is_rejected(what: str, factor: float) -> None:
    assert abs(z_of_deviation(released(2, **{what: factor}))) > LIMIT


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_wrong_normalisation_is_rejected(factor: float) -> None:
    assert abs(z_of_deviation(released(2, expected_batch_size=factor))) > LIMIT


def test_shape_is_gaussian() -> None:
    assert stats.kstest(released(2).ravel(), "norm").pvalue > 1e-6
    assert stats.kstest(np.random.default_rng(0).uniform(-(3**0.5), 3**0.5, 150_000), "norm").pvalue < 1e-12


def test_steps_and_parameters_do_not_share_noise() -> None:
    first, second = released(2)
    assert abs(np.corrcoef(first, second)[0, 1]) * np.sqrt(first.size) < LIMIT
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) * np.sqrt(first.size) < LIMIT


def test_fresh_entropy_is_never_the_same_and_of_the_same_scale() -> None:
    first, second = released(1, seed=None), released(1, seed=None)
    assert abs(z_of_deviation(np.append(first, second))) < LIMIT
    assert abs(np.corrcoef(first, second)[0, 1]) * np.sqrt(first.size) < LIMIT
