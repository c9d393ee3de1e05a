"""Clipped sums by ghost clipping: two backward passes of Opacus's, and no gradients where a layer allows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.utils.module_utils import trainable_modules
from torch import Tensor, nn

from privlab.dpsgd.clipping import Clipping, layers
from privlab.dpsgd.gradients import Chunk, quiet_hooks
from privlab.dpsgd.guards import MechanismError, refuse_mixed, refuse_unsupported
from privlab.dpsgd.hooks import HooksModule
from privlab.dpsgd.layers.rules import misfit
from privlab.dpsgd.loss import record_losses


def _linear_norms(layer: nn.Linear, activations: list[Tensor], backprops: Tensor) -> dict[nn.Parameter, Tensor]:
    """Norms of a linear layer's per-record gradients, shape (n,): ‖g aᵀ‖ = ‖g‖·‖a‖.

    Opacus's rule for sequences is kept. Its rule for vectors means the same, but takes 14 times as long on the CPU
    (einsum), and squares ‖g‖·‖a‖ on the way, which float32 does not always hold.
    """
    if backprops.dim() != 2:
        return GradSampleModuleFastGradientClipping.NORM_SAMPLERS[nn.Linear](layer, activations, backprops)
    lengths = torch.linalg.vector_norm(backprops, dim=1)
    found = {layer.weight: lengths * torch.linalg.vector_norm(activations[0], dim=1)}
    return found if layer.bias is None else found | {layer.bias: lengths}


def _embedding_norms(layer: nn.Embedding, activations: list[Tensor], backprops: Tensor) -> dict[nn.Parameter, Tensor]:
    """Opacus's rule for embeddings, without the row ``padding_idx``: what comes back to it is no gradient of the layer's.

    Ids that were expanded, as those of places are, lie otherwise than the rule can do with.
    """
    if layer.padding_idx is not None:
        backprops = backprops.masked_fill((activations[0] == layer.padding_idx)[..., None], 0)
    return GradSampleModuleFastGradientClipping.NORM_SAMPLERS[nn.Embedding](
        layer, [activations[0].contiguous()], backprops
    )


class _GhostModule(GradSampleModuleFastGradientClipping):
    GRAD_SAMPLERS: ClassVar = HooksModule.GRAD_SAMPLERS
    NORM_SAMPLERS: ClassVar = {
        **GradSampleModuleFastGradientClipping.NORM_SAMPLERS,
        nn.Linear: _linear_norms,
        nn.Embedding: _embedding_norms,
    }


class GhostGradients:
    """Clipped sums by two backward passes, without materialised gradients where a layer allows it.

    Args:
        max_grad_norm: C; may be set anew before each batch.
        clipping: the factors.

    Raises:
        MechanismError: factors that need more than each record's one norm.
    """

    views = 1

    def __init__(self, model: nn.Module, max_grad_norm: float, clipping: Clipping):
        if clipping.by_layer:
            raise MechanismError(
                "Ghost clipping weighs a record's loss by one factor, so its layers cannot have factors of their own "
                "(clipping=per-layer). Use one-pass."
            )
        refuse_unsupported(model, misfit=misfit, shared=False)
        self.max_grad_norm, self.clipping = max_grad_norm, clipping
        self._named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.parameters = list(self._named.values())
        self.layers = layers(model)
        self.module = _GhostModule(model, loss_reduction="sum", max_grad_norm=max_grad_norm)
        self.materialises = any(type(layer) not in _GhostModule.NORM_SAMPLERS for _, layer in trainable_modules(model))
        self._losses = self._norms = self._logits = self._slopes = torch.empty(0)
        self._dropped = 0

    @contextmanager
    def bare(self) -> Iterator[nn.Module]:
        """The model as it computes without hooks."""
        self.module.disable_hooks()
        yield self.module
        self.module.enable_hooks()

    def differentiate(self, x: Tensor, y: Tensor) -> None:
        """Find every record's gradient norm. ``x``: (n, …) inputs, ``y``: (n, …) int64 labels, n ≥ 1."""
        self._first_pass(x, y)
        used = self._norms.isfinite()
        self._dropped = len(used) - int(used.sum())
        if self._dropped == len(used):
            self._losses, self._norms = self._losses[:0], self._norms[:0]
        elif self._dropped:
            # A weight of zero would not do: the second pass multiplies it by the record's NaN. Leave the record out.
            self._first_pass(x[used], y[used])

    def _first_pass(self, x: Tensor, y: Tensor) -> None:
        for p in self.parameters:
            p.grad = None
        self._logits = self.module(x)
        losses = record_losses(self._logits, y)
        (self._slopes,) = torch.autograd.grad(losses.sum(), self._logits)
        with quiet_hooks():
            self._logits.backward(self._slopes, retain_graph=True)
        refuse_mixed({name: len(p._norm_sample) for name, p in self._named.items()}, len(x))
        self._losses, self._norms = losses.detach(), self.module.get_norm_sample()

    def clip(self) -> Chunk:
        """Leave the clipped sum of the last :meth:`differentiate` in ``p.grad``."""
        for p in self.parameters:
            p.grad = None
        norms = self._norms
        if len(norms):
            factors = self.clipping.factors(norms[None], self.max_grad_norm)[0]
            self.module.disable_hooks()
            with quiet_hooks():
                # Not (factors · losses).sum(): that goes through the softmax's difference 1 − p again, and a norm measured
                # before and a gradient found afterwards should share one rounding of it.
                weights = factors.view(-1, *[1] * (self._slopes.dim() - 1))
                self._logits.backward(weights * self._slopes)
            self.module.enable_hooks()
        else:
            for p in self.parameters:
                p.grad = torch.zeros_like(p)
        self._logits = self._slopes = torch.empty(0)
        return Chunk(self._losses, norms, self.clipping.shortened(norms[None], self.max_grad_norm), self._dropped)
