"""Sums of gradients that nothing clips."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from privlab.dpsgd.gradients import Chunk, lowered, over_views
from privlab.dpsgd.loss import record_losses


class PlainGradients:
    """Sums of gradients that nothing clips, by one ordinary backward pass.

    Args:
        views: K, rows of x in a row that show one record.
        precision: of the forward and backward pass.
    """

    max_grad_norm = clipping = None
    materialises = False

    def __init__(self, model: nn.Module, views: int, precision: torch.dtype):
        self.views = views
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.module = model
        self._forward = lowered(model.train(), precision)
        self._losses = torch.empty(0)
        self._dropped = 0

    def differentiate(self, x: Tensor, y: Tensor) -> None:
        """Find the sum of gradients. ``x``: (n·K, …) inputs, ``y``: (n·K, …) int64 labels, n ≥ 1."""
        for p in self.parameters:
            p.grad = None
        losses = self._of_records(x, y)
        used = losses.detach().isfinite()
        self._dropped = len(used) - int(used.sum())
        if self._dropped == len(used):
            losses = losses[:0]
        elif self._dropped:
            kept = used.repeat_interleave(self.views)
            losses = self._of_records(x[kept], y[kept])
        if len(losses):
            losses.sum().backward()
        self._losses = losses.detach()

    def _of_records(self, x: Tensor, y: Tensor) -> Tensor:
        return over_views(record_losses(self._forward(x), y), self.views)

    def clip(self) -> Chunk:
        """Nothing is clipped; ``p.grad`` already holds the sum."""
        for p in self.parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        return Chunk(self._losses, None, None, self._dropped)
