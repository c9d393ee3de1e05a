"""Per-record gradients by PyTorch alone: ``vmap(grad(…))``, with everything around it as lean as PrivLab's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from benchmarks.training.work import RATE, SIGMA, C, Work


def vmap_grad(work: Work, device: torch.device) -> Callable[[], int]:
    """The recipe of PyTorch's tutorial on per-sample gradients, made private; records in memory."""
    model = work.model().to(device)
    x, y = (part.to(device) for part in work.records())
    rate = work.batch / len(x)
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}

    def loss(weights, record, label):
        logits = functional_call(model, (weights, frozen), (record[None],))
        return cross_entropy(logits, label[None])

    by_record = vmap(grad(loss), in_dims=(None, 0, 0))

    def step() -> int:
        drawn = (torch.rand(len(x), device=device) < rate).nonzero().flatten()
        sums = {name: torch.zeros_like(p) for name, p in trained.items()}
        for part in drawn.split(work.physical):
            found = by_record(trained, x[part], y[part])
            lengths = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in found.values()])
            factors = (C / torch.linalg.vector_norm(lengths, dim=0)).clamp(max=1)
            for name, g in found.items():
                sums[name] += (factors @ g.flatten(1)).view_as(sums[name])
        for name, p in trained.items():
            p.sub_(sums[name] + torch.normal(0.0, SIGMA * C, p.shape, device=device), alpha=RATE / work.batch)
        return len(drawn)

    return step
