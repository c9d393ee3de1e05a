"""Clipped sums by per-record gradients that Opacus's hooks keep in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from privlab.dpsgd.clipping import Clipping, layers
from privlab.dpsgd.gradients import Chunk, joint, over_views, quiet_hooks
from privlab.dpsgd.guards import refuse_mixed, refuse_unsupported
from privlab.dpsgd.layers.rules import misfit
from privlab.dpsgd.loss import record_losses


def _conv_gradients(layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor) -> dict[nn.Parameter, Tensor]:
    """Opacus's rule for convolutions, on rows that lie as it silently assumes.

    Opacus 1.6.0 unfolds by strides that hold for contiguous NCHW tensors only; on any other layout, channels_last or
    permuted, it returns gradients of scrambled pixels without a word, and the clip no longer bounds the real ones.
    """
    return GradSampleModule.GRAD_SAMPLERS[nn.Conv2d](layer, [activations[0].contiguous()], backprops)


def _embedding_gradients(
    layer: nn.Embedding, activations: list[Tensor], backprops: Tensor
) -> dict[nn.Parameter, Tensor]:
    """Opacus's rule for embeddings, without the gradient that Opacus 1.6.0 gives to the row ``padding_idx``: it has none."""
    found = GradSampleModule.GRAD_SAMPLERS[nn.Embedding](layer, activations, backprops)
    if layer.padding_idx is not None:
        for gradients in found.values():
            gradients[:, layer.padding_idx] = 0
    return found


class HooksModule(GradSampleModule):
    GRAD_SAMPLERS: ClassVar = {
        **GradSampleModule.GRAD_SAMPLERS,
        nn.Conv2d: _conv_gradients,
        nn.Embedding: _embedding_gradients,
    }


class HooksGradients:
    """Clipped sums by materialised per-record gradients.

    Args:
        max_grad_norm: C; may be set anew before each batch.
        clipping: the factors.
        views: K, rows of x in a row that show one record.
    """

    materialises = True

    def __init__(self, model: nn.Module, max_grad_norm: float, clipping: Clipping, views: int):
        refuse_unsupported(model, misfit=misfit)
        self.max_grad_norm, self.clipping, self.views = max_grad_norm, clipping, views
        self._named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.parameters = list(self._named.values())
        self.layers = layers(model)
        self.module = HooksModule(model, loss_reduction="sum")
        self._losses = torch.empty(0)

    @contextmanager
    def bare(self) -> Iterator[nn.Module]:
        """The model as it computes without hooks."""
        self.module.disable_hooks()
        yield self.module
        self.module.enable_hooks()

    def differentiate(self, x: Tensor, y: Tensor) -> None:
        """Find every record's gradient. ``x``: (n·K, …) inputs, ``y``: (n·K, …) int64 labels, n ≥ 1."""
        for p in self.parameters:
            p.grad = p.grad_sample = None
        losses = record_losses(self.module(x), y)
        with quiet_hooks():
            losses.sum().backward()
        refuse_mixed({name: len(p.grad_sample) for name, p in self._named.items()}, len(x))
        self._losses = over_views(losses.detach(), self.views)

    def clip(self) -> Chunk:
        """Leave the clipped sum of the last :meth:`differentiate` in ``p.grad``."""
        gradients = [over_views(p.grad_sample.reshape(len(p.grad_sample), -1), self.views) for p in self.parameters]
        lengths = [torch.linalg.vector_norm(g, dim=1) for g in gradients]
        norms = joint(lengths)
        groups = self.clipping.groups(self.layers, len(lengths))
        by_group = torch.stack([joint([lengths[i] for i in places]) for places in groups])
        used = norms.isfinite()
        factors = self.clipping.factors(by_group, self.max_grad_norm)
        shortened = self.clipping.shortened(by_group, self.max_grad_norm)
        dropped = len(norms) - int(used.sum())
        if dropped:
            # 0 · NaN is NaN, so the records are emptied and not only weighed by zero.
            factors[:, ~used] = 0
            for g in gradients:
                g[~used] = 0
        for factor, places in zip(factors, groups, strict=True):
            for i in places:
                self.parameters[i].grad = (factor @ gradients[i]).view_as(self.parameters[i])
        for p in self.parameters:
            p.grad_sample = None
        if dropped:
            return Chunk(self._losses[used], norms[used], shortened[used], dropped)
        return Chunk(self._losses, norms, shortened, 0)
