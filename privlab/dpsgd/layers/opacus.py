"""Layers without a rule of their own: Opacus's per-sample gradient for that layer alone."""

from __future__ import annotations

from collections.abc import Iterator

from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from privlab.dpsgd.layers.uses import Formed, Use


def by_opacus(layer: nn.Module, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """What Opacus's rule says of the layer's trained parameters; its rules take contiguous tensors for granted."""
    found = GradSampleModule.GRAD_SAMPLERS[type(layer)](layer, [came.contiguous()], back.contiguous())
    for parameter, gradients in found.items():
        if parameter.requires_grad:
            yield Formed(parameter, gradients.unflatten(0, (n, -1)).sum(1))
