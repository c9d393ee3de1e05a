"""What the model is given of each record, or of each user: one row or several, whose gradients are averaged before the clip."""

from __future__ import annotations

import secrets

import torch
from torch import Tensor

from privlab.data.load import NOT_ASKED

#: Rows of tokens are cut to a multiple of so many, lest every length be a shape of its own.
_LENGTHS = 8
#: Texts at once: of more, each is computed at the length of a longer one, and fewer leave matrix products small.
_FEW_TEXTS = 16


class Views:
    """Records as they are.

    Attributes:
        count: K, rows of each record, those of one in a row.
        few_rows: rows at once that are usually quickest on a CPU, where that is known.
    """

    count = 1
    few_rows: int | None = None

    def begin(self, step: int) -> None:
        """Make ready for the step of this number: what is random follows from it, so that a resumed run sees the same."""

    def of(self, x: Tensor, y: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (n·K, …) of records ``x`` (n, …) with indices ``members`` (n,), and their labels (n·K, …) from ``y`` (n, …)."""
        return x, y

    def of_public(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Rows as :meth:`of` gives them, for checks, of public records that are nobody's."""
        return self.of(x, y, torch.arange(len(x), device=x.device))


AS_THEY_ARE = Views()


class ShortTexts(Views):
    """Tokens without the padding that all texts of a chunk have. What a model says of a text does not depend on it.

    Args:
        pad: id that fills up short texts.
    """

    few_rows = _FEW_TEXTS

    def __init__(self, pad: int):
        self._pad = pad

    def of(self, x: Tensor, y: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
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


class RandomViews(Views):
    """Views that are drawn anew at each step.

    What is drawn for a record follows from the seed, the step and the record's own index, so that taking one record away moves no
    other's view, and any seed, even a known one, leaves the bound as it is.

    Args:
        count: K ≥ 1.
        seed: None for one from the system's entropy.
    """

    def __init__(self, count: int, seed: int | None):
        self.count = count
        self._seed = secrets.randbits(63) if seed is None else seed
        self._key = 0

    def begin(self, step: int) -> None:
        self._key = int(_mixed(torch.tensor([_signed(self._seed + step * _GOLDEN)])))

    def draws(self, members: Tensor, each: int) -> Tensor:
        """Numbers in [0, 1), (n, ``each``) float32, for the records of indices ``members``, (n,)."""
        own = _mixed(_signed(self._key) + members * _signed(_GOLDEN))
        turns = torch.arange(1, each + 1, device=members.device) * _signed(_GOLDEN)
        mixed = _mixed(own[:, None] + turns)
        return ((mixed >> 40) & 0xFFFFFF).float() / (1 << 24)


#: 2⁶⁴ over the golden ratio, and the factors of the mix.
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _mixed(z: Tensor) -> Tensor:
    """SplitMix64's mix of 64 bits (Steele, Lea and Flood 2014, figure 16): int64 to int64."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _signed(_FIRST)
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _signed(_SECOND)
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def _signed(number: int) -> int:
    """The int64 of the same lowest 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class TextsOfUsers(RandomViews):
    """K of each user's texts, drawn anew at each step: none twice before all have come once.

    The gradient of a user is the mean over these texts, and is clipped as a record's is, so that a user moves the sum by C at most
    whatever texts they have (user-level sampling of Charles et al. 2024, arXiv:2407.07737, after McMahan et al. 2018, arXiv:1710.06963).

    Args:
        count: K.
        seed: None for one from the system's entropy.
        pad: id that fills up short texts.
    """

    few_rows = _FEW_TEXTS

    def __init__(self, count: int, seed: int | None, pad: int):
        super().__init__(count, seed)
        self._pad = pad

    def of(self, x: Tensor, y: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of users ``x``, (n, R, L), whose texts come before rows that ask nothing in ``y``, (n, R, L)."""
        places = torch.arange(x.shape[1], device=x.device)
        texts = (y != NOT_ASKED).flatten(2).any(2).sum(1, keepdim=True).clamp(min=1)
        # One shuffle of each user's own texts, of which the first K are taken.
        order = self.draws(members, x.shape[1]).masked_fill(places >= texts, torch.inf).argsort(1)
        drawn = order.gather(1, torch.arange(self.count, device=x.device) % texts)
        each = torch.arange(len(x), device=x.device)[:, None]
        return cut(x[each, drawn].flatten(0, 1), y[each, drawn].flatten(0, 1), self._pad)

    def of_public(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """K texts for each of ``x``, (n, L): itself, and itself turned around its end."""
        return tuple(
            torch.stack([part.roll(turn, 1) for turn in range(self.count)], 1).flatten(0, 1) for part in (x, y)
        )
