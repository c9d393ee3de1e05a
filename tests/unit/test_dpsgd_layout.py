"""Channels last or first: by trial, once for each network, and nothing but speed changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from privlab.dpsgd.clipping import Clipping
from privlab.dpsgd.layers.kernels import Kernels
from privlab.dpsgd.layout import LAYOUTS, settle_layout
from privlab.dpsgd.onepass import OnePassGradients


class Prefers(Kernels):
    """Finds one layout quicker, and leaves other choices alone."""

    def __init__(self, layout: str):
        super().__init__()
        self.layout, self.asked = layout, []

    def choose(self, layer, device, ways, trial) -> str:
        if set(ways) != set(LAYOUTS):
            return ways[0]
        self.asked.append(layer)
        for way in ways:
            trial(way)
        return self.layout


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def summed(kernels: Kernels | None, x: torch.Tensor, y: torch.Tensor) -> tuple[nn.Module, list[torch.Tensor]]:
    model = network().to(memory_format=torch.channels_last)
    gradients = OnePassGradients(model, 1.0, Clipping("flat", 0.01), 1, torch.float32, kernels)
    gradients.differentiate(x, y)
    gradients.clip()
    return model, [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_are_the_same_in_either(layout: str) -> None:
    x, y = torch.randn(12, 3, 6, 6), torch.randint(0, 3, (12,))
    _, usual = summed(None, x, y)
    kernels = Prefers(layout)
    model, found = summed(kernels, x, y)
    assert len(kernels.asked) == 1
    assert model[0].weight.is_contiguous(memory_format=LAYOUTS[layout])
    for mine, theirs in zip(found, usual, strict=True):
        torch.testing.assert_close(mine, theirs)
    for p, before in zip(model.parameters(), network().parameters(), strict=True):
        assert torch.equal(p, before), "only strides may change"


def test_no_trial_where_a_run_must_repeat_or_records_are_few() -> None:
    x, y = torch.randn(12, 3, 6, 6), torch.randint(0, 3, (12,))
    model, _ = summed(Kernels(measured=False), x, y)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    few = Prefers("channels_first")
    summed(few, x[:7], y[:7])
    assert few.asked == []


def test_networks_without_pictures_have_no_layout() -> None:
    kernels = Prefers("channels_first")
    settle_layout(nn.Linear(3, 2), torch.Size([3]), kernels, lambda: pytest.fail("no trial"))
    assert kernels.asked == []
