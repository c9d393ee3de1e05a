"""How well the released weights do on test data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from privlab.data.load import NOT_ASKED
from privlab.dpsgd.views import cut, lengths

Logits = Callable[[Tensor], Tensor]
#: Inputs and labels of records that are computed together; one part at least.
Parts = list[tuple[Tensor, Tensor]]
#: Most records at once: on a CPU what its caches hold is quicker, by 1.7 for ResNet-20.
_RECORDS, _RECORDS_CPU = 2000, 256
#: Most tokens at once (what lies between the layers grows with them) and most bytes of logits.
_TOKENS, _LOGITS = 1 << 13, 64 << 20


@dataclass(frozen=True)
class Evaluation:
    """What was measured on ``records`` test records.

    Attributes:
        loss: mean cross-entropy, over records or, for language, over tokens.
        records: how many.
        accuracy: share classified correctly; None for language.
        f1: of the second of two classes; None where there are not two.
    """

    loss: float
    records: int
    accuracy: float | None = None
    f1: float | None = None

    @property
    def perplexity(self) -> float:
        """e to the mean cross-entropy; infinite where that is too large for a number."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    @property
    def metrics(self) -> dict[str, float]:
        """For a point, by key of ``METRICS``; what is not a finite number is left out."""
        found = {"test_loss": self.loss, "test_accuracy": self.accuracy, "test_f1": self.f1}
        if self.accuracy is None:
            found |= {"test_perplexity": self.perplexity, "test_bits": self.loss / math.log(2)}
        return {key: value for key, value in found.items() if value is not None and math.isfinite(value)}


@contextmanager
def released(model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> Iterator[Logits]:
    """``model`` as it is released: inputs to logits, without gradients; its training mode is restored.

    Args:
        weights: used instead of the model's own parameters of these names.
    """

    def logits(inputs: Tensor) -> Tensor:
        return functional_call(model, dict(weights), (inputs,)) if weights else model(inputs)

    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield logits
    finally:
        model.train(was_training)


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    weights: Mapping[str, Tensor] | None = None,
    most: int | None = None,
    pad: int | None = None,
) -> Evaluation:
    """Measure ``model`` on test records, as many at once as fit into a bounded memory.

    Args:
        model: the network; its training mode is restored.
        x: inputs (n, …); y: classes (n,), or next tokens (n, L) with -100 where nothing is asked; n ≥ 1.
        weights: used instead of the model's own parameters of these names.
        most: only the first ``most`` records.
        pad: id that fills up short texts, which are then computed together with others of their length, and without it.
    """
    x, y = x[:most], y[:most]
    with released(model, weights) as logits:
        parts = _parts(x, y, records_at_once(logits, x), pad)
        return _language(logits, parts) if y.dim() > 1 else _classes(logits, parts)


def _parts(x: Tensor, y: Tensor, size: int, pad: int | None) -> Parts:
    if pad is None:
        return list(zip(x.split(size), y.split(size), strict=True))
    order = lengths(x, pad).argsort(stable=True)
    return [cut(x[some], y[some], pad) for some in order.split(size)]


def _classes(logits: Logits, parts: Parts) -> Evaluation:
    device = parts[0][0].device
    right, loss = torch.zeros((), device=device, dtype=torch.int64), torch.zeros((), device=device)
    alarms, hits = torch.zeros_like(right), torch.zeros_like(right)
    actual, records, classes = torch.zeros_like(right), 0, 0
    for inputs, labels in parts:
        scores = logits(inputs)
        classes, told = scores.shape[1], scores.argmax(dim=1)
        right += (told == labels).sum()
        alarms += (told == 1).sum()
        hits += ((told == 1) & (labels == 1)).sum()
        actual += (labels == 1).sum()
        records += len(labels)
        loss += cross_entropy(scores, labels, reduction="sum")
    f1 = None
    if classes == 2:
        # 2·precision·recall / (precision + recall); 0 where nothing of the class is found.
        f1 = 2 * hits.item() / max(1, alarms.item() + actual.item())
    return Evaluation(loss.item() / records, records, right.item() / records, f1)


def _language(logits: Logits, parts: Parts) -> Evaluation:
    loss, asked, records = torch.zeros((), device=parts[0][0].device), 0, 0
    for inputs, wanted in parts:
        scores = logits(inputs).flatten(0, 1).float()
        loss += cross_entropy(scores, wanted.flatten(), reduction="sum", ignore_index=NOT_ASKED)
        asked += int((wanted != NOT_ASKED).sum())
        records += len(wanted)
    return Evaluation(loss.item() / max(1, asked), records)


def records_at_once(logits: Logits, x: Tensor) -> int:
    """How many records to compute the logits of at once, without gradients.

    A token's logits are as many as there are words, hence the look at one record's.

    Args:
        logits: the model.
        x: inputs, (n, …), n ≥ 1.
    """
    most = _RECORDS_CPU if x.device.type == "cpu" else _RECORDS
    if x.is_floating_point():
        return most
    each = logits(x[:1])
    return max(1, min(most, _TOKENS // x[0].numel(), _LOGITS // (each.numel() * each.element_size())))
