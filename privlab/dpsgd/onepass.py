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
from torch.nn.functional import cross_entropy

from privlab.dpsgd.clipping import Clipping, layers
from privlab.dpsgd.gradients import Chunk, joint, lowered, over_views
from privlab.dpsgd.guards import MechanismError, refuse_unsupported
from privlab.dpsgd.layers.rules import falls_back, rule_for
from privlab.dpsgd.layers.uses import Shared, Use


class _Visit:
    """One call of one layer: what went in and what came back."""

    def __init__(self, layer: nn.Module, came: Tensor):
        self.layer, self.came = layer, came.detach()
        self.back: Tensor | None = None

    def receive(self, gradient: Tensor) -> None:
        self.back = gradient


class OnePassGradients:
    """Clipped sums from what each layer got and gave.

    Args:
        max_grad_norm: C; may be set anew before each batch.
        clipping: the factors.
        views: K, rows of x in a row that show one record.
        precision: of the forward and backward pass; norms and sums are in float32, both from the same rounded numbers, so
            that the clip holds whatever was rounded.

    Attributes:
        fallbacks: names of layers for which Opacus's rule does, because there is none of our own.
    """

    def __init__(self, model: nn.Module, max_grad_norm: float, clipping: Clipping, views: int, precision: torch.dtype):
        refuse_unsupported(model, knows=lambda layer: rule_for(layer) is not None)
        self.max_grad_norm, self.clipping, self.views = max_grad_norm, clipping, views
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.layers = layers(model)
        self.module, self._forward = model, lowered(model, precision)
        self.fallbacks: list[str] = []
        self._names: dict[nn.Module, str] = {}
        for name, layer in model.named_modules():
            if any(p.requires_grad for p in layer.parameters(recurse=False)):
                self._names[layer] = f"{name or 'model'} ({type(layer).__name__})"
                layer.register_forward_hook(self._visit, with_kwargs=True)
                if falls_back(layer):
                    self.fallbacks.append(self._names[layer])
        self.materialises = any(type(layer) is not nn.Linear for layer in self._names)
        self._visits: list[_Visit] | None = None
        self._uses: list[Use | None] = []
        self._lengths: list[Tensor] = []
        self._losses = self._norms = torch.empty(0)
        self._dropped = 0
        self._seen: torch.Size | None = None

    @contextmanager
    def bare(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """The model as it computes without book-keeping."""
        yield self._forward

    def _visit(self, layer: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor | None:
        if self._visits is None:
            return None
        visit = _Visit(layer, args[0] if args else kwargs["input"])
        self._visits.append(visit)
        if not output.requires_grad:
            output.requires_grad_()  # the first layer: nothing below it needs a gradient
        output.register_hook(visit.receive)
        return output

    @contextmanager
    def _recording(self) -> Iterator[list[_Visit]]:
        """Visits of the layers, while no trained parameter asks for a gradient."""
        self._visits = []
        for p in self.parameters:
            p.requires_grad_(False)
        try:
            yield self._visits
        finally:
            self._visits = None
            for p in self.parameters:
                p.requires_grad_(True)

    def differentiate(self, x: Tensor, y: Tensor) -> None:
        """Find every record's gradient norm. ``x``: (n·K, …) inputs, ``y``: (n,) int64 labels, n ≥ 1.

        Raises:
            MechanismError: a layer does not see one row per record.
        """
        if self._seen != x.shape[1:]:
            self._refuse_mixed_rows(x)
            self._seen = x.shape[1:]
        self._pass(x, y)
        used = self._norms.isfinite()
        self._dropped = 0 if used.all() else len(used) - int(used.sum())
        if self._dropped == len(used):
            self._losses, self._norms, self._uses = self._losses[:0], self._norms[:0], [None] * len(self.parameters)
        elif self._dropped:
            # A factor of zero would not do: 0 · NaN is NaN. Leave the record out.
            self._pass(x[used.repeat_interleave(self.views)], y[used])

    def _pass(self, x: Tensor, y: Tensor) -> None:
        n = len(y)
        with self._recording() as visits:
            losses = cross_entropy(self._forward(x), y.repeat_interleave(self.views), reduction="none")
            # A record's loss is the mean over its views, so its gradient is the sum over their rows.
            losses.backward(torch.full_like(losses, 1 / self.views))
        by_parameter: dict[int, list[Use]] = {id(p): [] for p in self.parameters}
        for visit in visits:
            if visit.back is not None:
                self._refuse_other_rows(visit, len(x))
                came = visit.came.float() if visit.came.is_floating_point() else visit.came
                for use in rule_for(visit.layer)(visit.layer, came, visit.back.float(), n):
                    by_parameter[id(use.parameter)].append(use)
        self._uses = [_joined(by_parameter[id(p)]) for p in self.parameters]
        self._lengths = [use.lengths() if use else losses.new_zeros(n) for use in self._uses]
        self._losses, self._norms = over_views(losses.detach(), self.views), joint(self._lengths)

    def _refuse_other_rows(self, visit: _Visit, rows: int) -> None:
        for tensor in (visit.came, visit.back):
            if len(tensor) != rows:
                raise MechanismError(
                    f"Layer {self._names[visit.layer]} got {len(tensor)} rows for {rows} records, so no row is a record's own."
                )

    def _refuse_mixed_rows(self, x: Tensor) -> None:
        """A layer that sees as many rows by chance would pass for one that sees one row per record: ask two sizes."""
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            for rows in (2, 3):
                with self._recording() as visits:
                    self.module(x[:1].repeat_interleave(rows, 0))
                for visit in visits:
                    visit.back = visit.came
                    self._refuse_other_rows(visit, rows)

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
