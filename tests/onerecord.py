"""What a clipped sum must be: plain autograd on one record at a time, in double precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from privlab.dpsgd.clipping import Clipping, layers
from privlab.dpsgd.gradients import Chunk
from privlab.dpsgd.methods import gradients_for


class Net(nn.Module):
    """``compute(parts, x)`` as a module that owns the parts."""

    def __init__(self, compute, *parts: nn.Module):
        super().__init__()
        self.parts, self._compute = nn.ModuleList(parts), compute

    def forward(self, x: Tensor) -> Tensor:
        return self._compute(self.parts, x)


def own_loss(logits: Tensor, label: Tensor) -> Tensor:
    """One record's cross-entropy: of its class, or the mean over its asked next tokens, written out with no shared code.

    Args:
        logits: (views, classes) or (views, L, V).
        label: () or (L,), -100 where nothing is asked.
    """
    asked = label.flatten() != -100
    if not asked.any():
        return 0.0 * logits.sum()
    wanted = label.flatten()[asked]
    rows = [view.reshape(-1, view.shape[-1])[asked] for view in logits]
    each = [row.double().logsumexp(1) - row.double().gather(1, wanted[:, None])[:, 0] for row in rows]
    return torch.stack(each).mean()


def one_by_one(model: nn.Module, x: Tensor, y: Tensor, views: int = 1) -> list[list[Tensor]]:
    """Each record's own gradient by parameter, float64."""
    trained = [p for p in model.parameters() if p.requires_grad]
    found = []
    for i in range(len(y)):
        loss = own_loss(model(x[i * views : (i + 1) * views]), y[i])
        grads = torch.autograd.grad(loss, trained, allow_unused=True)
        found.append(
            [torch.zeros_like(p).double() if g is None else g.double() for g, p in zip(grads, trained, strict=True)]
        )
    return found


def length(parts: list[Tensor]) -> float:
    return sum(part.square().sum().item() for part in parts) ** 0.5


def clipped(model: nn.Module, gradients: list[list[Tensor]], bound: float, mode: str = "flat") -> Tensor:
    """Σ fᵢ·gᵢ, flat."""
    groups = [places for _, places in layers(model)] if mode == "per-layer" else [range(len(gradients[0]))]
    total = [torch.zeros_like(part) for part in gradients[0]]
    for one in gradients:
        for places in groups:
            factor = min(1.0, bound / len(groups) ** 0.5 / max(length([one[i] for i in places]), 1e-300))
            for i in places:
                total[i] += factor * one[i]
    return torch.cat([part.flatten() for part in total])


def summed(gradients, x: Tensor, y: Tensor, physical: int, views: int = 1) -> tuple[Tensor, list[Chunk]]:
    """Clipped sum over physical chunks of that many records."""
    total, chunks = 0, []
    rows = physical * views
    for inputs, labels in zip(x.split(rows), y.repeat_interleave(views, 0).split(rows), strict=True):
        gradients.differentiate(inputs, labels)
        chunks.append(gradients.clip())
        total = total + torch.cat([p.grad.flatten() for p in gradients.parameters])
    return total, chunks


def check(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    views: int = 1,
    physical: int = 4,
    mode: str = "flat",
    method: str = "one-pass",
    room: float = 1e-5,
) -> None:
    """Assert that the method's norms and clipped sum are those of one-record gradients; half of the records are clipped."""
    model.train()
    reference = one_by_one(model, x, y, views)
    lengths = torch.tensor([length(one) for one in reference])
    bound = lengths.median().item()
    expected = clipped(model, reference, bound, mode)
    total, chunks = summed(gradients_for(method, model, bound, Clipping(mode), views), x, y, physical, views)
    norms = torch.cat([chunk.norms for chunk in chunks])
    assert (norms - lengths).abs().max() <= room * lengths.max()
    assert (total - expected).norm() <= room * expected.norm()
