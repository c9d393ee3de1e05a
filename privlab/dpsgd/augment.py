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

    def of(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return moved(x, self.count, self.generator), y.repeat_interleave(self.count, 0)


def moved(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` views of each picture: moved at random by up to an eighth of its side, the gap filled with zeros, and,
    where it has colours, mirrored by a coin flip. Each view depends on its own picture alone.

    Args:
        x: pictures, (n, channels, height, width).
        count: K ≥ 1.
        generator: of x's device.

    Returns:
        (n·K, channels, height, width), the views of one picture in a row.
    """
    x = x.repeat_interleave(count, dim=0)
    n, channels, height, width = x.shape
    down, right = int(height * SHIFT), int(width * SHIFT)
    rows = _windows(n, down, height, generator)
    columns = _windows(n, right, width, generator)
    if channels == 3:
        mirrored = torch.randint(2, (n, 1), generator=generator, device=x.device, dtype=torch.bool)
        columns = torch.where(mirrored, columns.flip(1), columns)
    each = torch.arange(n, device=x.device).view(-1, 1, 1, 1)
    planes = torch.arange(channels, device=x.device).view(1, -1, 1, 1)
    return pad(x, (right, right, down, down))[each, planes, rows.view(n, 1, -1, 1), columns.view(n, 1, 1, -1)]


def _windows(n: int, most: int, side: int, generator: torch.Generator) -> Tensor:
    """Which places of the padded side each of n views shows, (n, side)."""
    starts = torch.randint(0, 2 * most + 1, (n, 1), generator=generator, device=generator.device)
    return starts + torch.arange(side, device=generator.device)
