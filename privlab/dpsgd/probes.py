"""Records and networks that the self-check looks at and that nobody would train on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from privlab.data.load import NOT_ASKED

#: Records of tokens among which the longest and the shortest are looked for.
_LOOKED_THROUGH = 1000


def unusual_tokens(x: Tensor, y: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """At most ``most`` ≥ 5 records of tokens: the longest and the shortest of some, and three that nobody wrote.

    One says the rarest token over and over, so that all of its gradient falls on one row of an embedding; one is nothing but
    padding, and asks nothing where next tokens are asked; one is random.
    """
    # Each text once: one that comes twice could not be told from its copy.
    different = {row.tobytes(): i for i, row in reversed(list(enumerate(x[:_LOOKED_THROUGH].cpu().numpy())))}
    places = torch.tensor(sorted(different.values()), device=x.device)
    x, y = x[places], y[places]
    pad = x[:, -1].mode().values
    order = (x != pad).sum(1).argsort(descending=True, stable=True).tolist()
    kept = [*order[: most - 4], *order[max(most - 4, len(order) - 1) :]]
    words, often = x.unique(return_counts=True)
    drawn = torch.randint(len(words), x[0].shape, generator=torch.Generator().manual_seed(0)).to(x.device)
    rows = [words[often.argmin()].expand_as(x[0]), pad.expand_as(x[0]), words[drawn]]
    if y.dim() == 1:
        labels = [y[i % len(y)] for i in range(len(rows))]
    else:
        # Padding that is none of the ids is nothing to ask for.
        asked = [row.masked_fill(row < 0, NOT_ASKED) for row in (rows[0], rows[2].roll(-1))]
        labels = [asked[0], torch.full_like(pad, NOT_ASKED).expand_as(x[0]), asked[1]]
    return torch.stack([*x[kept], *rows]), torch.stack([*y[kept], *labels])


@contextmanager
def distorted_logits(model: nn.Module, record: Tensor, factor: float) -> Iterator[None]:
    """``model``, with the logits of this one record multiplied by ``factor``, in whatever company it comes."""

    def distort(module: nn.Module, args: tuple, logits: Tensor) -> Tensor:
        same = (args[0] == record).flatten(1).all(1)
        # The factor is chosen and not the product, whose gradient would be NaN for every record.
        return logits * torch.where(same, factor, 1.0).to(logits).view(-1, *[1] * (logits.dim() - 1))

    handle = model.register_forward_hook(distort)
    try:
        yield
    finally:
        handle.remove()
