"""A record's loss: cross-entropy, a function of that record alone."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from privlab.data.load import NOT_ASKED


def record_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each record; for language the mean over the record's own asked tokens.

    The mean is over each record by itself: divided by the tokens of a whole batch, one record's length would change the weight
    of every other's gradient, and the clip would bound something else than what leaves with a record. A record that asks
    nothing has loss 0 and no gradient.

    Args:
        logits: (n, classes), or (n, L, V) for language.
        y: (n,) int64 classes, or (n, L) int64 next tokens, ``NOT_ASKED`` where nothing is asked.

    Returns:
        (n,).
    """
    if y.dim() == 1:
        return cross_entropy(logits, y, reduction="none")
    each = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none", ignore_index=NOT_ASKED).view_as(y)
    return each.sum(1) / (y != NOT_ASKED).sum(1).clamp(min=1)
