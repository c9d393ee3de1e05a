"""Several views of each picture (augmentation multiplicity; De et al. 2022, arXiv:2204.13650, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from privlab.dpsgd.views import RandomViews

#: Pictures are moved by up to this share of their side.
SHIFT = 1 / 8


class MovedPictures(RandomViews):
    """K views of each picture, which all have its label."""

    def of(self, x: Tensor, y: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        return moved(x, self.draws(members, 3 * self.count).view(-1, self.count, 3)), y.repeat_interleave(self.count, 0)


def moved(x: Tensor, draws: Tensor) -> Tensor:
    """Views of each picture: moved at random by up to an eighth of its side, the gap filled with zeros, and, where it has
    colours, mirrored by a coin flip. Each view depends on its own picture and draws alone.

    Args:
        x: pictures, (n, channels, height, width).
        draws: numbers in [0, 1) that decide how far down, how far to the right, and whether mirrored, (n, K, 3).

    Returns:
        (n·K, channels, height, width), the views of one picture in a row.
    """
    x, draws = x.repeat_interleave(draws.shape[1], dim=0), draws.flatten(0, 1)
    n, channels, height, width = x.shape
    down, right = int(height * SHIFT), int(width * SHIFT)
    rows = _windows(draws[:, :1], down, height)
    columns = _windows(draws[:, 1:2], right, width)
    if channels == 3:
        columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    each = torch.arange(n, device=x.device).view(-1, 1, 1, 1)
    planes = torch.arange(channels, device=x.device).view(1, -1, 1, 1)
    return pad(x, (right, right, down, down))[each, planes, rows.view(n, 1, -1, 1), columns.view(n, 1, 1, -1)]


def _windows(draws: Tensor, most: int, side: int) -> Tensor:
    """Which places of the padded side each of n views shows, (n, side); ``draws``: (n, 1)."""
    starts = (draws * (2 * most + 1)).long()
    return starts + torch.arange(side, device=draws.device)
