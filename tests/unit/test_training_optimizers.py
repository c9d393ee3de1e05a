"""Adam whose second moment is freed of the noise's known variance."""

from __future__ import annotations

from copy import deepcopy

import torch

from privlab.config import TrainingConfig
from privlab.training.optimizers import AdamCorrected, optimizer_for


def test_without_noise_it_is_adam():
    start = torch.tensor([1.0, -2.0])
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    first, second = AdamCorrected([ours], lr=0.1, floor=1e-30), torch.optim.Adam([theirs], lr=0.1, eps=0)
    for step in range(20):
        ours.grad = theirs.grad = torch.tensor([0.3, -0.1]) * (1 + step % 3)
        first.step()
        second.step()
    torch.testing.assert_close(ours, theirs)


def test_the_noise_variance_is_taken_out_of_the_second_moment():
    torch.manual_seed(0)
    parameter = torch.zeros(20_000, requires_grad=True)
    optimizer = AdamCorrected([parameter], lr=0.0)
    signal, noise = 0.5, 2.0
    for step in range(200):
        # Noise that falls over time: the correction must follow the average that v itself takes.
        std = noise if step < 100 else noise / 2
        parameter.grad = signal + std * torch.randn_like(parameter)
        optimizer.noise_variance = std**2
        optimizer.step()
    state = optimizer.state[parameter]
    corrected = (state["exp_avg_sq"] - state["noise"]) / (1 - 0.999**200)
    raw = state["exp_avg_sq"] / (1 - 0.999**200)
    assert abs(corrected.mean().item() - signal**2) < 0.02
    assert raw.mean().item() > 2


def test_its_state_comes_back():
    parameter = torch.ones(3, requires_grad=True)
    optimizer = optimizer_for([parameter], TrainingConfig(optimizer="adam-bc", learning_rate=0.1))
    optimizer.noise_variance, parameter.grad = 0.01, torch.ones(3)
    optimizer.step()
    twin = torch.ones(3, requires_grad=True)
    again = optimizer_for([twin], TrainingConfig(optimizer="adam-bc", learning_rate=0.1))
    again.load_state_dict(deepcopy(optimizer.state_dict()))
    twin.data.copy_(parameter.data)
    for one, other in ((optimizer, parameter), (again, twin)):
        one.noise_variance, other.grad = 0.01, torch.full((3,), 0.5)
        one.step()
    assert torch.equal(parameter, twin)
