"""Ways to take one step on the same batch of texts: plain PyTorch, Opacus as its guide says, PrivLab as a run does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.training.texts import TextWork
from benchmarks.training.work import RATE, SIGMA, C
from privlab.data.load import NOT_ASKED
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.layers.kernels import Kernels
from privlab.dpsgd.loss import record_losses
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.step import PrivateStep
from privlab.dpsgd.views import AS_THEY_ARE, ShortTexts, lengths
from privlab.privacy.plan import PrivacyPlan

#: More records and steps than any benchmark takes: the step refuses to go past its plan.
_RECORDS, _STEPS = 4_000, 1_000_000
_TRIAL_STEPS = 16


def _optimizer(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=RATE)


def plain(work: TextWork) -> Callable[[], None]:
    """Training without privacy."""
    model = work.model().train()
    optimizer, (x, y) = _optimizer(model), work.records()

    def step() -> None:
        optimizer.zero_grad()
        record_losses(model(x), y).mean().backward()
        optimizer.step()

    return step


def opacus(work: TextWork, mode: str) -> Callable[[], None]:
    """Opacus's engine with ``grad_sample_mode`` hooks or ghost. Its loader is left out: all take the same batch."""
    model = work.model().train()
    x, y = work.records()
    criterion = nn.CrossEntropyLoss(ignore_index=NOT_ASKED)
    model, optimizer, *criteria, _ = PrivacyEngine().make_private(
        module=model,
        optimizer=_optimizer(model),
        criterion=criterion,
        data_loader=DataLoader(TensorDataset(x, y), batch_size=work.batch),
        noise_multiplier=SIGMA,
        max_grad_norm=C,
        poisson_sampling=False,
        grad_sample_mode=mode,
    )
    # Ghost's loss is told where the records are among the tokens; plain PyTorch's averages over all of them.
    criterion = partial(criteria[0], shape=y.shape) if criteria and y.dim() == 2 else (criteria or [criterion])[0]

    def step() -> None:
        optimizer.zero_grad()
        logits = model(x)
        criterion(logits.flatten(0, -2), y.flatten()).backward()
        optimizer.step()

    return step


def privlab(work: TextWork, padded: bool = False) -> Callable[[], None]:
    """PrivLab's step, as a run takes it: the shortest texts first, each chunk as wide as its longest; or ``padded``."""
    model = work.model()
    x, y = work.records()
    plan = PrivacyPlan(
        records=_RECORDS, batch_size=work.batch, steps=_STEPS, noise_multiplier=SIGMA, max_grad_norm=C, delta=1e-5
    )
    cpu = torch.device("cpu")
    private = PrivateStep(
        *(model, plan, "one-pass", _optimizer(model), noise_source("private", "none", 1, cpu, None), work.batch),
        views=AS_THEY_ARE if padded else ShortTexts(work.pad),
        kernels=Kernels(),
    )
    clock, batch, known = PhaseClock(cpu), torch.arange(work.batch), lengths(x, work.pad)

    def step() -> None:
        clock.begin(False)
        private.run(x, y, batch if padded else batch[known[batch].argsort(stable=True)], clock)

    # What a run finds out in its first steps and does not try again.
    for _ in range(_TRIAL_STEPS):
        if private.settled:
            break
        step()
    return step


TEXT_RIVALS: dict[str, tuple[str, Callable[[TextWork], Callable[[], None]]]] = {
    "sgd": ("PyTorch without privacy", plain),
    "opacus": ("Opacus, hooks", partial(opacus, mode="hooks")),
    "opacus-ghost": ("Opacus, ghost", partial(opacus, mode="ghost")),
    "privlab-padded": ("PrivLab, one-pass, padded as the others", partial(privlab, padded=True)),
    "privlab": ("PrivLab, one-pass, as a run does", privlab),
}
