"""Clipped sums from one backward pass (book-keeping: Bu et al. 2023, arXiv:2210.00038).

Trained parameters stand still in a graph of their own inputs: they need no gradient while the loss is differentiated, so the
ordinary weight gradient, which private training throws away, is never computed. What went into each layer and what came back
is kept instead, and :mod:`privlab.dpsgd.layers` says what these mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from privlab.dpsgd.clipping import Clipping, layers
from privlab.dpsgd.gradients import Chunk, joint, lowered, over_views
from privlab.dpsgd.guards import refuse_unsupported
from privlab.dpsgd.layers.kernels import FEWEST_RECORDS, TRIAL_RECORDS, Kernels, using
from privlab.dpsgd.layers.rules import forms, knows, misfit
from privlab.dpsgd.layers.uses import Shared, Use
from privlab.dpsgd.layout import settle_layout
from privlab.dpsgd.loss import record_losses
from privlab.dpsgd.recording import Recorder


class OnePassGradients:
    """Clipped sums from what each layer got and gave.

    Args:
        max_grad_norm: C; may be set anew before each batch.
        clipping: the factors.
        views: K, rows of x in a row that show one record.
        precision: of the forward and backward pass; norms and sums are in float32, both from the same rounded numbers, so
            that the clip holds whatever was rounded.
        kernels: how layers choose among equal ways; without it they try none, so that a run repeats bit for bit.

    Attributes:
        fallbacks: names of layers for which Opacus's rule does, because there is none of our own.
    """

    def __init__(
        self,
        model: nn.Module,
        max_grad_norm: float,
        clipping: Clipping,
        views: int,
        precision: torch.dtype,
        kernels: Kernels | None = None,
    ):
        refuse_unsupported(model, knows=knows, misfit=misfit)
        self.max_grad_norm, self.clipping, self.views = max_grad_norm, clipping, views
        self.layers = layers(model)
        self.module, self._forward = model, lowered(model, precision)
        self._recorder = Recorder(model)
        self._kernels = kernels or Kernels(measured=False)
        self.parameters, self.fallbacks = self._recorder.parameters, self._recorder.fallbacks
        self.materialises = any(forms(layer) for layer in model.modules())
        self._uses: list[Use | None] = []
        self._lengths: list[Tensor] = []
        self._losses = self._norms = torch.empty(0)
        self._dropped = 0
        self._laid_out = False

    @contextmanager
    def bare(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """The model as it computes without book-keeping."""
        yield self._forward

    def differentiate(self, x: Tensor, y: Tensor) -> None:
        """Find every record's gradient norm. ``x``: (n·K, …) inputs, ``y``: (n·K, …) int64 labels, n ≥ 1.

        Raises:
            MechanismError: a layer does not see one row per record.
        """
        self._recorder.look(x)
        if not self._laid_out:
            self._lay_out(x, y)
        self._pass(x, y)
        used = self._norms.isfinite()
        self._dropped = 0 if used.all() else len(used) - int(used.sum())
        if self._dropped == len(used):
            self._losses, self._norms, self._uses = self._losses[:0], self._norms[:0], [None] * len(self.parameters)
        elif self._dropped:
            # A factor of zero would not do: 0 · NaN is NaN. Leave the record out.
            kept = used.repeat_interleave(self.views)
            self._pass(x[kept], y[kept])

    def _lay_out(self, x: Tensor, y: Tensor) -> None:
        """Find the better layout with the first records that come, once there are enough of them."""
        records = min(len(x) // self.views, TRIAL_RECORDS)

        def pass_over() -> None:
            self._pass(x[: records * self.views], y[: records * self.views])
            self.clip()

        if records >= FEWEST_RECORDS and self._kernels.measured:
            settle_layout(self.module, x.shape[1:], self._kernels, pass_over)
            self._laid_out = True

    def _pass(self, x: Tensor, y: Tensor) -> None:
        n = len(x) // self.views
        with self._recorder.recording(len(x)) as visits:
            losses = record_losses(self._forward(x), y)
            # A record's loss is the mean over its views, so its gradient is the sum over their rows.
            losses.backward(torch.full_like(losses, 1 / self.views))
        by_parameter: dict[int, list[Use]] = {id(p): [] for p in self.parameters}
        for visit in visits:
            if visit.back is not None:
                came, back = self._recorder.rows_first(visit, len(x))
                came = came.float() if came.is_floating_point() else came
                uses = list(visit.rule(visit.layer, came, back.float(), n))
                visit.refuse_unsaid(uses)
                for use in uses:
                    by_parameter[id(use.parameter)].append(use)
        self._uses = [_joined(by_parameter[id(p)]) for p in self.parameters]
        with using(self._kernels):
            self._lengths = [use.lengths() if use else losses.new_zeros(n) for use in self._uses]
        self._losses, self._norms = over_views(losses.detach(), self.views), joint(self._lengths)

    def clip(self) -> Chunk:
        """Leave the clipped sum of the last :meth:`differentiate` in ``p.grad``."""
        norms = self._norms
        if len(norms):
            groups = self.clipping.groups(self.layers, len(self.parameters))
            by_group = (
                norms[None]
                if len(groups) == 1
                else torch.stack([joint([self._lengths[i] for i in places]) for places in groups])
            )
            factors = self.clipping.factors(by_group, self.max_grad_norm)
            shortened = self.clipping.shortened(by_group, self.max_grad_norm)
            for factor, places in zip(factors, groups, strict=True):
                for i in places:
                    use, p = self._uses[i], self.parameters[i]
                    p.grad = use.total(factor) if use else torch.zeros_like(p)
        else:
            shortened = norms.bool()
            for p in self.parameters:
                p.grad = torch.zeros_like(p)
        self._uses = []
        return Chunk(self._losses, norms, shortened, self._dropped)


def _joined(uses: list[Use]) -> Use | None:
    return Shared(uses) if len(uses) > 1 else uses[0] if uses else None
