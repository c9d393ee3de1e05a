"""Per-record gradients, clipped and summed, over one physical chunk of a batch.

Four methods with one meaning. For records i of the chunk they leave Σᵢ fᵢ·gᵢ in ``p.grad``, where gᵢ is the gradient of
record i's own cross-entropy over all parameters and fᵢ its factor (:mod:`privlab.dpsgd.clipping`):

* ``one-pass`` (:mod:`privlab.dpsgd.onepass`; book-keeping, Bu et al. 2023) keeps what went into each layer and what came back,
  and finds norms and clipped sum from these;
* ``hooks`` (:mod:`privlab.dpsgd.hooks`; Opacus) keeps every gᵢ in memory;
* ``ghost`` (:mod:`privlab.dpsgd.ghost`; Opacus; Li et al. 2022, Bu et al. 2022) finds ‖gᵢ‖ in a first backward pass without
  forming gᵢ, and the clipped sum in a second one, in which the loss's derivative at record i's logits is multiplied by fᵢ;
* ``plain`` (:mod:`privlab.dpsgd.plain`) does not clip: Σᵢ gᵢ, for the baseline without privacy.

Several views of one record are averaged to its gᵢ before it is clipped (De et al. 2022, arXiv:2204.13650); ghost cannot.

The loss is a sum of terms of one record each. There is no place for a regulariser: ghost clipping would let it through
unclipped. A record whose gradient is not finite contributes exactly zero, and is counted (``plain``: one whose loss is
not finite).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Chunk:
    """What one chunk showed; private diagnostics.

    Attributes:
        losses: cross-entropy of each record that was used (mean over its views), shape (m,).
        norms: gradient norm before clipping of each record that was used, shape (m,); None where nothing is clipped.
        shortened: whether each of these gradients (per layer: any layer of it) was longer than its bound, bool (m,); or None.
        dropped: records whose gradient was not finite.
    """

    losses: Tensor
    norms: Tensor | None
    shortened: Tensor | None
    dropped: int


def over_views(values: Tensor, views: int) -> Tensor:
    """Mean over each record's views: (n·K, …) → (n, …)."""
    return values.unflatten(0, (-1, views)).mean(1) if views > 1 else values


def joint(parts: Sequence[Tensor]) -> Tensor:
    """√Σ part²: the length of a whole from those of its parts, each (n,)."""
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


@contextmanager
def quiet_hooks() -> Iterator[None]:
    """Silence one PyTorch warning: the first layer's input needs no gradient, which is as it should be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing when gradients are computed")
        yield


def lowered(model: nn.Module, precision: torch.dtype) -> Callable[[Tensor], Tensor]:
    """``model`` as a function to float32 logits, that computes in ``precision`` what PyTorch thinks safe to."""
    if precision == torch.float32:
        return model

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=precision):
            logits = model(x)
        return logits.float()

    return forward
