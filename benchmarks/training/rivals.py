"""Every way to train the same work, by name, and who can do which row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from benchmarks.training import opacus_rivals, privlab_rivals, sgd_rivals, torchvision_data, vmap_rival
from benchmarks.training.peers import PEERS, Peer, peak_bytes, python_of
from benchmarks.training.work import Work

Step = Callable[[], int]

#: In this process, in the order of the table. Each takes (work, device) and gives a function that does one logical step.
RIVALS: dict[str, Callable[[Work, torch.device], Step]] = {
    "opacus-example": opacus_rivals.example,
    "opacus-tensors": opacus_rivals.tensors,
    "opacus-ghost": opacus_rivals.ghost,
    "vmap": vmap_rival.vmap_grad,
    "privlab": privlab_rivals.privlab,
    "privlab-bf16": privlab_rivals.bfloat16,
    "privlab-hooks": privlab_rivals.hooks,
    "privlab-ghost": privlab_rivals.ghost,
    "sgd": sgd_rivals.sgd,
    "sgd-channels-last": sgd_rivals.channels_last,
    "sgd-bf16": sgd_rivals.bfloat16,
}
#: Only where asked for by name: they pay on hardware for bfloat16 alone.
ON_REQUEST = {"privlab-bf16", "sgd-bf16"}
TITLES = {
    "opacus-example": "Opacus, its MNIST example",
    "opacus-tensors": "Opacus, TensorDataset",
    "opacus-ghost": "Opacus, ghost",
    "vmap": "vmap(grad)",
    "privlab": "PrivLab, one-pass",
    "privlab-bf16": "PrivLab, one-pass, bfloat16",
    "privlab-hooks": "PrivLab, hooks",
    "privlab-ghost": "PrivLab, ghost",
    "sgd": "SGD without privacy, defaults",
    "sgd-channels-last": "SGD without privacy, channels_last",
    "sgd-bf16": "SGD without privacy, bfloat16",
    "jax-privacy": "jax-privacy",
    "tensorflow-privacy": "tensorflow-privacy",
}


def names(work: Work) -> list[str]:
    """Who can do the row, whether installed or not."""
    # Tokens need no loader and have no channels; PrivLab's hooks and ghost are Opacus's rules, and minutes.
    pictures_only = {"opacus-example", "sgd-channels-last", "privlab-hooks", "privlab-ghost"}
    able = [name for name in RIVALS if work.pictures or name not in pictures_only]
    return able + [name for name, (_, _, rows) in PEERS.items() if work.key in rows]


def missing(name: str) -> str | None:
    """Why a rival cannot run here; None where it can."""
    there = torchvision_data.installed() if name == "opacus-example" else name in RIVALS or python_of(name).exists()
    return None if there else f"{name} is not installed; run: make peers"


class Runner:
    """A rival at a row of work, ready to take turns.

    Attributes:
        facts: versions of a peer; empty for a rival in this process.
    """

    def __init__(self, name: str, work: Work, device: torch.device):
        self.name, self.device, self.facts = name, device, {}
        self._peer = Peer(name, work) if name in PEERS else None
        if self._peer:
            self.facts = self._peer.facts
        else:
            self._step = RIVALS[name](work, device)

    def turn(self, steps: int) -> tuple[int, float]:
        """Do ``steps`` logical steps. Records, and seconds: of processor time on the CPU, by the wall on an accelerator."""
        if self._peer:
            return self._peer.turn(steps)
        clock = time.process_time if self.device.type == "cpu" else self._wall
        began = clock()
        records = sum(self._step() for _ in range(steps))
        return records, clock() - began

    def _wall(self) -> float:
        torch.accelerator.synchronize()
        return time.perf_counter()

    @property
    def peak_bytes(self) -> int:
        """Most memory that the rival's process has held, which is this one unless the rival is a peer."""
        return self._peer.peak_bytes if self._peer else peak_bytes(os.getpid())

    def close(self) -> None:
        if self._peer:
            self._peer.close()
