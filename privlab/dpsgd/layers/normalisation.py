"""Normalisation of each record by itself, then a scale and a shift: y = normalised·w + b."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from privlab.dpsgd.layers.scale import broadcast
from privlab.dpsgd.layers.uses import Use


def _affine(layer: nn.Module, normalised: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    if layer.weight is not None:
        yield from broadcast(layer.weight, back * normalised, n)
    if getattr(layer, "bias", None) is not None:
        yield from broadcast(layer.bias, back, n)


def layer_norm(layer: nn.LayerNorm, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """Over the last axes."""
    return _affine(layer, functional.layer_norm(came, layer.normalized_shape, eps=layer.eps), back, n)


def rms_norm(layer: nn.Module, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """Division by the root mean square over the axes of the weight; w or 1 + w, whose gradients are the same."""
    eps = layer.variance_epsilon if hasattr(layer, "variance_epsilon") else layer.eps
    normalised = functional.rms_norm(came, layer.weight.shape, eps=eps)
    return _affine(layer, normalised, back, n)


def group_norm(layer: nn.GroupNorm, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """Over groups of channels, which are the second axis."""
    return _affine(layer, *_channels_last(functional.group_norm(came, layer.num_groups, eps=layer.eps), back), n)


def instance_norm(layer: nn.Module, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """Over the places of each channel, by the record's own mean and variance."""
    return _affine(layer, *_channels_last(functional.instance_norm(came, eps=layer.eps), back), n)


def instance_norm_misfit(layer: nn.Module) -> str | None:
    """Why the layer is not for private training, or None."""
    if layer.track_running_stats:
        return "track_running_stats=True keeps running statistics of the records, which are not private"
    return None


def _channels_last(*tensors: Tensor) -> Iterator[Tensor]:
    return (torch.movedim(tensor, 1, -1) for tensor in tensors)
