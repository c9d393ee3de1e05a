"""Independent Gaussian noise, from the stream cipher or from PyTorch's generator."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from privlab.dpsgd.cipher import CipherStream

#: Pairs of values made at once, so that the intermediate float64 tensors stay in the processor's cache.
_PAIRS = 1 << 14


class NoiseSource(ABC):
    """Where the noise of a step comes from; one object per run.

    Attributes:
        first_scale: standard deviation of the first noise after :meth:`reset`, as a multiple of the ``std`` asked for.
    """

    first_scale = 1.0

    @abstractmethod
    def perturb(self, sums: Sequence[Tensor], std: float) -> list[Tensor]:
        """Clipped sums plus noise of standard deviation ``std`` on every coordinate; the sums stay as they are.

        Args:
            sums: float32 tensors of any shape on one device.
            std: above 0.
        """

    def reset(self) -> None:
        """Forget noise given so far, as if the run began here."""
        return None


class IndependentNoise(NoiseSource):
    """N(0, std²) on every coordinate, independent of all other coordinates and steps; in floating point."""

    @abstractmethod
    def normal(self, count: int, device: torch.device) -> Tensor:
        """``count`` values from N(0, 1), float32 (count,) on ``device``."""

    def perturb(self, sums: Sequence[Tensor], std: float) -> list[Tensor]:
        noise = self.normal(sum(s.numel() for s in sums), sums[0].device)
        return added(sums, noise, std)


class PlainNoise(IndependentNoise):
    """Noise from a PyTorch generator. Fast, but not cryptographic: enough of its output tells what it gives next."""

    def __init__(self, generator: torch.Generator):
        self._generator = generator

    def normal(self, count: int, device: torch.device) -> Tensor:
        return torch.empty(count, device=device).normal_(generator=self._generator)


class CipherNoise(IndependentNoise):
    """Noise from the stream cipher by the transform of Box and Muller (1958): √(−2·log U)·(cos V, sin V).

    U comes from 63 random bits, so values reach to 9.4 standard deviations (a normal value lies beyond with probability
    5·10⁻²¹), V from 32. The logarithm is taken in float64, the rest in float32, as the result is. Made on the processor for
    every device, with NumPy, whose calls cost less than PyTorch's where d is small.
    """

    def __init__(self, stream: CipherStream):
        self._stream = stream
        # Reused, because fresh memory costs as much as the arithmetic. Three halves of a word make a pair.
        self._words = np.empty(_PAIRS * 3 // 2, dtype=np.uint64)
        self._log = np.empty(_PAIRS)

    def normal(self, count: int, device: torch.device) -> Tensor:
        pairs = (count + 1) // 2
        out = np.empty((2, pairs), dtype=np.float32)
        for first in range(0, pairs, _PAIRS):
            self._fill(out[:, first : first + _PAIRS])
        return torch.from_numpy(out.reshape(-1)[:count]).to(device)

    def _fill(self, out: np.ndarray) -> None:
        """Overwrite ``out``, float32 (2, n), n at most ``_PAIRS``."""
        pairs = out.shape[1]
        words = self._words[: pairs + (pairs + 1) // 2]
        self._stream.fill(words)
        bits, log = words[:pairs].view(np.int64), self._log[:pairs]
        bits &= 2**63 - 1
        np.copyto(log, bits)
        log += 0.5
        log *= 2.0**-63
        np.log(log, out=log)
        radius = log.astype(np.float32)
        radius *= -2
        np.sqrt(radius, out=radius)
        angle = words[pairs:].view(np.int32)[:pairs].astype(np.float32)
        angle *= math.pi * 2.0**-31
        np.cos(angle, out=out[0])
        np.sin(angle, out=out[1])
        out *= radius

    @property
    def state(self) -> int:
        """Position in the random stream, for the checkpoint of a reproducible run."""
        return self._stream.state

    @state.setter
    def state(self, state: int) -> None:
        self._stream.state = state


def added(sums: Sequence[Tensor], noise: Tensor, scale: float) -> list[Tensor]:
    """Each of ``sums`` plus ``scale`` times its part of the flat ``noise`` (d,)."""
    parts = noise.split([s.numel() for s in sums])
    return [torch.add(s, part.view(s.shape), alpha=scale) for s, part in zip(sums, parts, strict=True)]
