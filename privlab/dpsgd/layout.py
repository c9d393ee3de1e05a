"""In which order the numbers of pictures and kernels lie in memory: channels last or first. It decides speed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import nn

from privlab.dpsgd.layers.kernels import Kernels

LAYOUTS = {"channels_last": torch.channels_last, "channels_first": torch.contiguous_format}


def settle_layout(model: nn.Module, inputs: torch.Size, kernels: Kernels, pass_over: Callable[[], object]) -> None:
    """Lay the kernels of ``model``'s convolutions out in the way that is quicker, by trial.

    Which one that is depends on the processor and on the network: pooling is quicker with channels last, GroupNorm and
    convolutions with a group for each record with channels first.

    Args:
        model: its 4-dimensional parameters may change their strides, and nothing else.
        inputs: shape of one record's input.
        kernels: hold one trial for each network and machine.
        pass_over: does a forward and backward pass over some records.
    """
    parameters = list(model.parameters())
    shapes = [tuple(p.shape) for p in parameters]
    device = parameters[0].device
    if device.type != "cpu" or not any(len(shape) == 4 for shape in shapes):
        return
    network = hashlib.sha256(repr((shapes, tuple(inputs))).encode()).hexdigest()[:16]

    def trial(way: str) -> None:
        model.to(memory_format=LAYOUTS[way])
        pass_over()

    way = kernels.choose(f"layout of network {network}", device, list(LAYOUTS), trial)
    model.to(memory_format=LAYOUTS[way])
