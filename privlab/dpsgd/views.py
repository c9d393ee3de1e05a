"""What the model is given of each record, or of each user: one row or several, whose gradients are averaged before the clip."""

from __future__ import annotations

import secrets

import torch
from torch import Tensor

#: Rows of tokens are cut to a multiple of so many, lest every length be a shape of its own.
_LENGTHS = 8


class Views:
    """Records as they are.

    Attributes:
        count: K, rows of each record, those of one in a row.
    """

    count = 1

    def begin(self, step: int) -> None:
        """Make ready for the step of this number: what is random follows from it, so that a resumed run sees the same."""

    def of(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (n·K, …) of records ``x`` (n, …), and their labels (n·K, …) from ``y`` (n, …)."""
        return x, y

    def of_single(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Rows as :meth:`of` gives them, for checks, of public records that are nobody's."""
        return self.of(x, y)


AS_THEY_ARE = Views()


class ShortTexts(Views):
    """Tokens without the padding that all texts of a chunk have. What a model says of a text does not depend on it.

    Args:
        pad: id that fills up short texts.
    """

    def __init__(self, pad: int):
        self._pad = pad

    def of(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return cut(x, y, self._pad)


def lengths(x: Tensor, pad: int) -> Tensor:
    """Tokens of each text of ``x`` (n, L) up to the last that is no padding, (n,)."""
    places = torch.arange(1, x.shape[1] + 1, device=x.device)
    return ((x != pad) * places).amax(1)


def cut(x: Tensor, y: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """Texts (n, L) and labels, (n,) or for language (n, L), without columns at the end that hold nothing but padding.

    A few columns more may stay, and one does at least.
    """
    longest = int(lengths(x, pad).max()) if len(x) else 0
    kept = max(1, -(-longest // _LENGTHS)) * _LENGTHS
    return x[:, :kept], y[:, :kept] if y.dim() > 1 else y


def view_generator(device: torch.device, seed: int | None) -> torch.Generator:
    """The stream of random views: of ``seed``, or of fresh entropy for None."""
    return torch.Generator(device=device).manual_seed(secrets.randbits(63) if seed is None else seed)


class RandomViews(Views):
    """Views that are drawn anew at each step.

    Args:
        count: K ≥ 1.
        generator: of the records' device. What it gives need not be secret: any views, even known ones, leave the bound as it is.
    """

    def __init__(self, count: int, generator: torch.Generator):
        self.count, self.generator = count, generator
        self._seed = generator.initial_seed()

    def begin(self, step: int) -> None:
        self.generator.manual_seed((self._seed + step) % 2**63)
