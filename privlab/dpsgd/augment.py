"""Several views of each picture (augmentation multiplicity; De et al. 2022, arXiv:2204.13650, section 3.2)."""

from __future__ import annotations

import secrets

import torch
from torch import Tensor
from torch.nn.functional import pad

#: Pictures are moved by up to this share of their side.
SHIFT = 1 / 8


def views(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` views of each picture: moved at random by up to an eighth of its side, the gap filled with zeros, and,
    where it has colours, mirrored by a coin flip. Each view depends on its own picture alone.

    Args:
        x: pictures, (n, channels, height, width).
        count: K ≥ 1.
        generator: of x's device. What it gives need not be secret: any views, even known ones, leave the bound as it is.

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


def view_generator(device: torch.device, seed: int | None) -> torch.Generator:
    """The stream of random views: of ``seed``, or of fresh entropy for None."""
    return torch.Generator(device=device).manual_seed(secrets.randbits(63) if seed is None else seed)


def _windows(n: int, most: int, side: int, generator: torch.Generator) -> Tensor:
    """Which places of the padded side each of n views shows, (n, side)."""
    starts = torch.randint(0, 2 * most + 1, (n, 1), generator=generator, device=generator.device)
    return starts + torch.arange(side, device=generator.device)
