"""Checkpoints hold what a run changes, and no frozen parameter."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from privlab.training.weights import load_trained, trained_state


def partly(seed: int = 0) -> nn.Module:
    """A frozen layer, a trained one whose weight is used again at the end, and a buffer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3, bias=False), nn.Linear(4, 3))
    model[2].weight = model[1].weight
    model[0].requires_grad_(False)
    model.register_buffer("scale", torch.full((2,), float(seed)))
    return model


def test_frozen_parameters_are_left_out_and_shared_ones_are_held_once() -> None:
    assert trained_state(partly()).keys() == {"1.weight", "2.bias", "scale"}


def test_what_was_taken_makes_the_same_model() -> None:
    source, other = partly(1), partly(2)
    other[0].load_state_dict(source[0].state_dict())
    load_trained(other, trained_state(source))
    for name, tensor in source.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


def test_a_whole_state_as_older_versions_wrote_is_as_good() -> None:
    source, other = partly(1), partly(2)
    load_trained(other, source.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"2.bias": None}, "lacks 2.bias"),
        ({"other": torch.zeros(1)}, "holds other"),
        ({"2.bias": torch.zeros(5)}, "size mismatch"),
    ],
)
def test_another_models_state_is_refused_by_name(change: dict, words: str) -> None:
    state = {name: t for name, t in (trained_state(partly()) | change).items() if t is not None}
    with pytest.raises(ValueError, match=words):
        load_trained(partly(), state)
