"""Independent Gaussian noise, from the stream cipher or from PyTorch's generator."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from privlab.dpsgd.cipher import CipherStream

#: Pairs of values in a block, few enough to stay in the processor's cache, and its random words: one and a half a pair.
_PAIRS = 1 << 14
_BLOCK_WORDS = _PAIRS * 3 // 2


class NoiseSource(ABC):
    """Where the noise of a step comes from; one object per run.

    Attributes:
        owners: data owners that add a share of the noise each.
        fewest: how many of them must take part in a step for its noise to be whole.
    """

    owners = fewest = 1

    def share(self, owner: int) -> NoiseSource:
        """The share of the noise that ``owner`` adds."""
        if owner:
            raise ValueError(f"owner={owner} has no share: this noise is one owner's.")
        return self

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
    5·10⁻²¹), V from 32. The logarithm is taken in float64, the rest in float32, as the result is. Values are made in blocks
    of 32,768, ahead of their use and on the processor for every device: one call at a time costs more than its arithmetic
    where d is small. A forked child throws its copy of a block away.
    """

    def __init__(self, stream: CipherStream):
        self._stream = stream
        self._words, self._log = np.empty(_BLOCK_WORDS, dtype=np.uint64), np.empty(_PAIRS)
        self._block, self._taken = np.empty(0, dtype=np.float32), 0

    def normal(self, count: int, device: torch.device) -> Tensor:
        if self._stream.is_forked:
            self._block, self._taken = self._block[:0], 0
        parts, missing = [], count
        while True:
            part = self._block[self._taken : self._taken + missing]
            parts.append(part)
            self._taken += len(part)
            missing -= len(part)
            if not missing:
                break
            self._block, self._taken = self._next_block(), 0
        # A part of a block is never given twice, so it may be handed out without a copy.
        return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts)).to(device)

    def _next_block(self) -> np.ndarray:
        """Fresh values, float32 (2 · _PAIRS,)."""
        self._stream.fill(self._words)
        bits, log, out = self._words[:_PAIRS].view(np.int64), self._log, np.empty((2, _PAIRS), dtype=np.float32)
        # log((63 bits + ½) / 2⁶³)
        bits &= 2**63 - 1
        np.copyto(log, bits)
        log += 0.5
        log *= 2.0**-63
        np.log(log, out=log)
        radius = log.astype(np.float32)
        radius *= -2
        np.sqrt(radius, out=radius)
        angle = self._words[_PAIRS:].view(np.int32).astype(np.float32)
        angle *= math.pi * 2.0**-31
        np.cos(angle, out=out[0])
        np.sin(angle, out=out[1])
        out *= radius
        return out.reshape(-1)

    @property
    def state(self) -> int:
        """Values given so far, for the checkpoint of a reproducible run. Raises ValueError where there is no seed."""
        return self._stream.state // _BLOCK_WORDS * 2 * _PAIRS - len(self._block) + self._taken

    @state.setter
    def state(self, given: int) -> None:
        block, self._taken = divmod(given, 2 * _PAIRS)
        self._stream.state = block * _BLOCK_WORDS
        self._block = self._next_block()


def added(sums: Sequence[Tensor], noise: Tensor, scale: float) -> list[Tensor]:
    """Each of ``sums`` plus ``scale`` times its part of the flat ``noise`` (d,)."""
    parts = noise.split([s.numel() for s in sums])
    return [torch.add(s, part.view(s.shape), alpha=scale) for s, part in zip(sums, parts, strict=True)]
