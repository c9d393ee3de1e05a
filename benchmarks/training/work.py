"""What every rival trains: models, records, batch sizes, σ, C and learning rate, said once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from benchmarks.training.gpt import CONTEXT, VOCABULARY, Gpt, with_lora
from privlab.data.catalogue import availability
from privlab.data.load import Dataset, load
from privlab.models.build import build

SIGMA, C, RATE = 1.1, 1.0, 0.1
#: Records of made-up tokens. What a step costs does not depend on which tokens they are.
_TOKEN_RECORDS = 20_000


@dataclass(frozen=True)
class Work:
    """One row of the table.

    Attributes:
        key: the row's name on the command line.
        title: for people.
        batch: B, expected records in a logical batch, drawn by Poisson sampling where the rival can.
        physical: most records at once.
        model: makes the network, float32, on the CPU; the same weights each time.
        pictures: whether the records are Fashion-MNIST's; otherwise tokens.
    """

    key: str
    title: str
    batch: int
    physical: int
    model: Callable[[], nn.Module]
    pictures: bool = True

    def records(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels in memory: (N, 1, 28, 28) float32 in 0…1 or (N, 64) int64 tokens, and (N,) int64."""
        if not self.pictures:
            return _tokens()
        data = pictures()
        return data.train_x, data.train_y


@cache
def pictures() -> Dataset:
    """Fashion-MNIST: all 60,000 pictures where `privlab data fetch` has brought them, else the 6,000 built in."""
    return load("fashion-mnist" if availability("fashion-mnist").ready else "fashion-mnist-6k")


@cache
def _tokens() -> tuple[Tensor, Tensor]:
    """Made-up token ids (N, 64), and the id that follows each row."""
    ids = torch.randint(VOCABULARY, (_TOKEN_RECORDS, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
    return ids[:, :-1].contiguous(), ids[:, -1].contiguous()


def _catalogued(name: str) -> Callable[[], nn.Module]:
    return lambda: build(name, pictures().facts, seed=0)


def _gpt() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Gpt()


WORK = {
    work.key: work
    for work in (
        Work("logistic", "logistic regression, B=512", 512, 512, _catalogued("logistic")),
        Work("cnn", "tanh CNN (26k), B=512", 512, 512, _catalogued("cnn")),
        Work("resnet", "ResNet-20-GN, B=256 (64 at once)", 256, 64, _catalogued("resnet-gn")),
        Work("gpt", "GPT 2.8M, 64 tokens, B=256 (32 at once)", 256, 32, _gpt, pictures=False),
        Work("lora", "LoRA r=8 on that GPT, B=256 (32 at once)", 256, 32, lambda: with_lora(_gpt()), pictures=False),
    )
}
