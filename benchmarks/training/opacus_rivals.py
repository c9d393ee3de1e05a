"""Plain Opacus scripts: its own MNIST example, the same with tensors in memory, and its ghost clipping."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import torch
from opacus import PrivacyEngine
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from tqdm import tqdm

from benchmarks.training import torchvision_data
from benchmarks.training.work import RATE, SIGMA, C, Work


def example(work: Work, device: torch.device) -> Callable[[], int]:
    """Opacus's ``examples/mnist.py``, its loop line by line, with the row's model and with the loader's worker in this
    process, so that its time is counted."""
    return _script(work, device, torchvision_data.fashion_mnist(*work.records()), "hooks")


def tensors(work: Work, device: torch.device) -> Callable[[], int]:
    """The example with a ``TensorDataset``."""
    return _script(work, device, TensorDataset(*work.records()), "hooks")


def ghost(work: Work, device: torch.device) -> Callable[[], int]:
    """The same with ``grad_sample_mode="ghost"``."""
    return _script(work, device, TensorDataset(*work.records()), "ghost")


def _script(work: Work, device: torch.device, records: Dataset, mode: str) -> Callable[[], int]:
    model = work.model().to(device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=RATE, momentum=0)
    criterion = nn.CrossEntropyLoss()
    found = PrivacyEngine().make_private(
        module=model,
        optimizer=optimizer,
        criterion=criterion,
        data_loader=DataLoader(records, batch_size=work.batch, num_workers=0, pin_memory=device.type == "cuda"),
        noise_multiplier=SIGMA,
        max_grad_norm=C,
        grad_sample_mode=mode,
    )
    model, optimizer, *criteria, loader = found
    criterion = criteria[0] if criteria else criterion
    batches, losses = _forever(loader, optimizer, work), []

    def step() -> int:
        drawn = 0
        while True:
            data, target = next(batches)
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            drawn += len(target)
            if not optimizer._is_last_step_skipped:
                return drawn

    return step


def _forever(loader: DataLoader, optimizer: torch.optim.Optimizer, work: Work) -> Iterator:
    """The example's epochs, progress bar included, in physical batches where the row says so."""
    with open(os.devnull, "w") as nowhere:
        while True:
            if work.physical == work.batch:
                yield from tqdm(loader, file=nowhere)
            else:
                with BatchMemoryManager(
                    data_loader=loader, max_physical_batch_size=work.physical, optimizer=optimizer
                ) as parts:
                    yield from tqdm(parts, file=nowhere)
