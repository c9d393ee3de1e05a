"""Per-record gradients, clipped and summed, over one physical chunk of a batch.

Three methods with one meaning. For records i of the chunk they leave Σᵢ fᵢ·gᵢ in ``p.grad``, where gᵢ is the gradient of
record i's own cross-entropy over all parameters and fᵢ its factor (:mod:`privlab.dpsgd.clipping`):

* ``hooks`` (Opacus) keeps every gᵢ in memory, so that layers can have factors of their own, and several views of one
  record can be averaged to its gᵢ before it is clipped (De et al. 2022, arXiv:2204.13650);
* ``ghost`` (Opacus; Li et al. 2022, Bu et al. 2022) finds ‖gᵢ‖ in a first backward pass without forming gᵢ, and the
  clipped sum in a second one, in which the loss's derivative at record i's logits is multiplied by fᵢ;
* ``plain`` does not clip: Σᵢ gᵢ, for the baseline without privacy.

The loss is a sum of terms of one record each. There is no place for a regulariser: ghost clipping would let it through
unclipped. A record whose gradient is not finite contributes exactly zero, and is counted (``plain``: one whose loss is
not finite).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.utils.module_utils import trainable_modules
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privlab.dpsgd.clipping import Clipping, layers
from privlab.dpsgd.guards import MechanismError, refuse_unsupported

#: Per-record gradients kept at once on a CPU, in bytes.
_CACHED_BYTES = 32 << 20


@dataclass(frozen=True)
class Chunk:
    """What one chunk showed; private diagnostics.

    Attributes:
        losses: cross-entropy of each record that was used (mean over its views), shape (m,).
        norms: gradient norm before clipping of each record that was used, shape (m,); None where nothing is clipped.
        shortened: whether each of these gradients (per layer: any layer of it) was longer than its bound, bool (m,); or None.
        dropped: records whose gradient was not finite.
    """

    losses: Tensor
    norms: Tensor | None
    shortened: Tensor | None
    dropped: int


def _conv_gradients(layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor) -> dict[nn.Parameter, Tensor]:
    """Opacus's rule for convolutions, on rows that lie as it silently assumes.

    Opacus 1.6.0 unfolds by strides that hold for contiguous NCHW tensors only; on any other layout, channels_last or
    permuted, it returns gradients of scrambled pixels without a word, and the clip no longer bounds the real ones.
    """
    return GradSampleModule.GRAD_SAMPLERS[nn.Conv2d](layer, [activations[0].contiguous()], backprops)


class _HooksModule(GradSampleModule):
    GRAD_SAMPLERS: ClassVar = {**GradSampleModule.GRAD_SAMPLERS, nn.Conv2d: _conv_gradients}


class HooksGradients:
    """Clipped sums by materialised per-record gradients.

    Args:
        max_grad_norm: C; may be set anew before each batch.
        clipping: the factors.
        views: K, rows of x in a row that show one record.
    """

    materialises = True

    def __init__(self, model: nn.Module, max_grad_norm: float, clipping: Clipping, views: int):
        refuse_unsupported(model, ghost=False)
        self.max_grad_norm, self.clipping, self.views = max_grad_norm, clipping, views
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.layers = layers(model)
        self.module = _HooksModule(model, loss_reduction="sum")
        self._losses = torch.empty(0)

    def differentiate(self, x: Tensor, y: Tensor) -> None:
        """Find every record's gradient. ``x``: (n·K, …) inputs, ``y``: (n,) int64 labels, n ≥ 1."""
        for p in self.parameters:
            p.grad = p.grad_sample = None
        losses = cross_entropy(self.module(x), y.repeat_interleave(self.views), reduction="none")
        with quiet_hooks():
            losses.sum().backward()
        self._losses = _over_views(losses.detach(), self.views)

    def clip(self) -> Chunk:
        """Leave the clipped sum of the last :meth:`differentiate` in ``p.grad``."""
        gradients = [_over_views(p.grad_sample.reshape(len(p.grad_sample), -1), self.views) for p in self.parameters]
        lengths = [torch.linalg.vector_norm(g, dim=1) for g in gradients]
        norms = _norm(lengths)
        groups = [places for _, places in self.layers] if self.clipping.by_layer else [range(len(lengths))]
        by_group = torch.stack([_norm([lengths[i] for i in places]) for places in groups])
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


class _GhostModule(GradSampleModuleFastGradientClipping):
    GRAD_SAMPLERS: ClassVar = _HooksModule.GRAD_SAMPLERS
    NORM_SAMPLERS: ClassVar = {**GradSampleModuleFastGradientClipping.NORM_SAMPLERS, nn.Linear: _linear_norms}


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
                "(clipping=per-layer). Use hooks."
            )
        refuse_unsupported(model, ghost=True)
        self.max_grad_norm, self.clipping = max_grad_norm, clipping
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.layers = layers(model)
        self.module = _GhostModule(model, loss_reduction="sum", max_grad_norm=max_grad_norm)
        self.materialises = any(type(layer) not in _GhostModule.NORM_SAMPLERS for _, layer in trainable_modules(model))
        self._losses = self._norms = self._logits = self._slopes = torch.empty(0)
        self._dropped = 0

    def differentiate(self, x: Tensor, y: Tensor) -> None:
        """Find every record's gradient norm. ``x``: (n, …) inputs, ``y``: (n,) int64 labels, n ≥ 1."""
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
        losses = cross_entropy(self._logits, y, reduction="none")
        (self._slopes,) = torch.autograd.grad(losses.sum(), self._logits)
        with quiet_hooks():
            self._logits.backward(self._slopes, retain_graph=True)
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
                self._logits.backward(factors[:, None] * self._slopes)
            self.module.enable_hooks()
        else:
            for p in self.parameters:
                p.grad = torch.zeros_like(p)
        self._logits = self._slopes = torch.empty(0)
        return Chunk(self._losses, norms, self.clipping.shortened(norms[None], self.max_grad_norm), self._dropped)


class PlainGradients:
    """Sums of gradients that nothing clips, by one ordinary backward pass.

    Args:
        views: K, rows of x in a row that show one record.
    """

    max_grad_norm = clipping = None
    materialises = False

    def __init__(self, model: nn.Module, views: int):
        self.views = views
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self._model = model.train()
        self._losses = torch.empty(0)
        self._dropped = 0

    def differentiate(self, x: Tensor, y: Tensor) -> None:
        """Find the sum of gradients. ``x``: (n·K, …) inputs, ``y``: (n,) int64 labels, n ≥ 1."""
        for p in self.parameters:
            p.grad = None
        losses = self._of_records(x, y)
        used = losses.detach().isfinite()
        self._dropped = len(used) - int(used.sum())
        if self._dropped == len(used):
            losses = losses[:0]
        elif self._dropped:
            losses = self._of_records(x[used.repeat_interleave(self.views)], y[used])
        if len(losses):
            losses.sum().backward()
        self._losses = losses.detach()

    def _of_records(self, x: Tensor, y: Tensor) -> Tensor:
        losses = cross_entropy(self._model(x), y.repeat_interleave(self.views), reduction="none")
        return _over_views(losses, self.views)

    def clip(self) -> Chunk:
        """Nothing is clipped; ``p.grad`` already holds the sum."""
        for p in self.parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        return Chunk(self._losses, None, None, self._dropped)


Gradients = HooksGradients | GhostGradients | PlainGradients


def gradients_for(
    method: str, model: nn.Module, max_grad_norm: float | None, clipping: Clipping | None = None, views: int = 1
) -> Gradients:
    """Wrap ``model``. What trains must be settled before: later changes of ``requires_grad`` are refused at each step.

    Args:
        method: ``hooks`` or ``ghost``; without a bound both become ``plain``.
        max_grad_norm: C, or None for no clipping.
        clipping: the factors; flat by default.
        views: K, rows of x in a row that show one record.

    Raises:
        MechanismError: a layer that has no per-record gradient, or what ghost clipping cannot do.
    """
    if max_grad_norm is None:
        return PlainGradients(model, views)
    clipping = clipping or Clipping()
    if method == "hooks":
        return HooksGradients(model, max_grad_norm, clipping, views)
    if views > 1:
        raise MechanismError(
            f"Ghost clipping forms no gradients, so those of {views} views of a record cannot be averaged before the clip. "
            "Use hooks."
        )
    return GhostGradients(model, max_grad_norm, clipping)


def quickest_chunk(gradients: Gradients, device: torch.device, most: int) -> int:
    """How many records to hold at once: ``most``, or fewer on a CPU where fewer are faster.

    Per-record gradients beyond the caches cost more than small chunks do: near 32 MiB the tanh CNN is 1.4 times as fast
    as at 512 records. Ghost clipping of linear layers alone keeps no such gradients. The result is the same.
    """
    sizes = sum(p.numel() for p in gradients.parameters)
    if device.type != "cpu" or not gradients.materialises:
        return most
    return max(1, min(most, _CACHED_BYTES // (4 * sizes)))


def _over_views(values: Tensor, views: int) -> Tensor:
    """Mean over each record's views: (n·K, …) → (n, …)."""
    return values.unflatten(0, (-1, views)).mean(1) if views > 1 else values


def _norm(parts: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


@contextmanager
def quiet_hooks() -> Iterator[None]:
    """Silence one PyTorch warning: the first layer's input needs no gradient, which is as it should be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing when gradients are computed")
        yield
