"""Normalisation of each record by itself, then a scale and a shift: y = normalised·w + b."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from privlab.dpsgd.layers.attention import Tap
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


def group_norm(layer: nn.GroupNorm, tap: Tap, input: Tensor) -> Tensor:
    """Over groups of channels, which are the second axis.

    The forward pass finds each group's mean and deviation; normalising again would take two to four times as long.
    """
    affine = layer.weight, layer.bias
    if input.dtype != torch.float32 or torch.is_autocast_enabled(input.device.type):
        return tap(_group_norm_again, input, functional.group_norm(input, layer.num_groups, *affine, layer.eps), affine)
    last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    lying = input.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    sizes = (*input.shape[:2], prod(input.shape[2:]))
    output, *statistics = torch.native_group_norm(lying, *affine, *sizes, layer.num_groups, layer.eps)
    return tap(partial(_group_norm, *(part.detach() for part in statistics)), input, output, affine)


def _group_norm(
    mean: Tensor, reciprocal: Tensor, layer: nn.GroupNorm, came: Tensor, back: Tensor, n: int
) -> Iterator[Use]:
    """Σ g·(a − mean)/deviation over the places of each channel; mean and 1/deviation are (n·K, groups)."""
    came, back = (part.reshape(*part.shape[:2], -1) for part in (came, back))
    channels = came.shape[1] // layer.num_groups
    mean, reciprocal = (part.repeat_interleave(channels, 1) for part in (mean, reciprocal))
    # Centred before it is multiplied: Σ g·a − mean·Σ g would cancel.
    yield from broadcast(layer.weight, (back * (came - mean[..., None])).sum(2) * reciprocal, n)
    yield from broadcast(layer.bias, back.sum(2), n)


def _group_norm_again(layer: nn.GroupNorm, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
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
