"""How well the released weights do on test data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

_CHUNK = 2000


@dataclass(frozen=True)
class Evaluation:
    """``accuracy`` in 0…1 and mean cross-entropy ``loss`` over ``records`` test records."""

    accuracy: float
    loss: float
    records: int

    @property
    def metrics(self) -> dict[str, float]:
        """For a point: ``test_accuracy``, and ``test_loss`` while it is a finite number."""
        return {"test_accuracy": self.accuracy} | ({"test_loss": self.loss} if math.isfinite(self.loss) else {})


@torch.inference_mode()
def evaluate(
    model: nn.Module, x: Tensor, y: Tensor, *, weights: Mapping[str, Tensor] | None = None, most: int | None = None
) -> Evaluation:
    """Measure ``model`` on test records, in chunks.

    Args:
        model: the network; its training mode is restored.
        x: inputs (n, …); y: labels (n,), n ≥ 1.
        weights: used instead of the model's own parameters of these names.
        most: only the first ``most`` records.
    """
    x, y = x[:most], y[:most]
    was_training = model.training
    model.eval()
    right, loss = torch.zeros((), device=x.device, dtype=torch.int64), torch.zeros((), device=x.device)
    for inputs, labels in zip(x.split(_CHUNK), y.split(_CHUNK), strict=True):
        scores = functional_call(model, dict(weights), (inputs,)) if weights else model(inputs)
        right += (scores.argmax(dim=1) == labels).sum()
        loss += cross_entropy(scores, labels, reduction="sum")
    model.train(was_training)
    return Evaluation(right.item() / len(y), loss.item() / len(y), len(y))
