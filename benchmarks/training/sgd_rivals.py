"""Training without privacy, records in memory: what privacy is measured against."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import cross_entropy

from benchmarks.training.work import RATE, Work


def sgd(
    work: Work, device: torch.device, channels_last: bool = False, precision: torch.dtype = torch.float32
) -> Callable[[], int]:
    model = work.model().to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    x, y = (part.to(device) for part in work.records())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=RATE)

    def step() -> int:
        drawn = torch.randint(len(x), (work.batch,), device=device)
        optimizer.zero_grad()
        for part in drawn.split(work.physical):
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                logits = model(x[part])
            (cross_entropy(logits.float(), y[part], reduction="sum") / work.batch).backward()
        optimizer.step()
        return work.batch

    return step


channels_last = partial(sgd, channels_last=True)
bfloat16 = partial(sgd, precision=torch.bfloat16)
