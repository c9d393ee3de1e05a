"""Noise added in whole numbers, so that the last digits of what is released tell nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.gaussian import NoiseSource
from privlab.dpsgd.whole_noise import whole_noise
from privlab.privacy.rounding import CLAMP_BITS, GRID_BITS


class RoundedNoise(NoiseSource):
    """The rounded Gaussian mechanism; :mod:`privlab.privacy.rounding` says what it protects from and what it costs.

    Sums go on a grid of std / 2³⁰ as whole numbers, Gaussian noise of whole grid steps is added to these, and only the
    total is turned back into float32. The total stands for ⌊n + 2³⁰·X⌋, so half a step is added to centre it. Made on the
    processor for every device.
    """

    def __init__(self, stream: CipherStream):
        self._stream = stream

    def perturb(self, sums: Sequence[Tensor], std: float) -> list[Tensor]:
        """Raises ValueError where ``std`` is not above 0: there is no grid."""
        if not std > 0:
            raise ValueError(f"std={std:g} must be above 0 for rounded noise.")
        grid, most = std * 2.0**-GRID_BITS, 2.0**CLAMP_BITS
        places = torch.cat([s.flatten() for s in sums]).cpu().double().div_(grid).round_().clamp_(-most, most)
        total = places.long().add_(torch.from_numpy(whole_noise(self._stream, len(places))))
        released = total.double().add_(0.5).mul_(grid).float().to(sums[0].device)
        parts = released.split([s.numel() for s in sums])
        return [part.view(s.shape) for s, part in zip(sums, parts, strict=True)]

    @property
    def state(self) -> int:
        """Position in the random stream, for the checkpoint of a reproducible run."""
        return self._stream.state

    @state.setter
    def state(self, state: int) -> None:
        self._stream.state = state
