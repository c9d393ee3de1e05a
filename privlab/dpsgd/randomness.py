"""Where the coin flips and the noise come from: the operating system's entropy, or a known seed.

``seed=None`` is the private policy: nobody can redraw the batches or subtract the noise. With a seed the run is
reproducible and **not** private. Batches and noise always come from different streams.
"""

from __future__ import annotations

import os

import numpy as np
import torch

_BATCHES, _NOISE = 1, 2
#: Layout of the CPU generator's state: 24 bytes of counters, then 624 Mersenne Twister words, each in a 64-bit cell.
_WORDS, _WORDS_AT, _STATE_BYTES = 624, 24, 5056


def batch_rng(seed: int | None) -> np.random.Generator:
    """The stream of coin flips that make the batches."""
    return np.random.default_rng(_sequence(seed, _BATCHES))


def noise_generator(device: torch.device, seed: int | None) -> torch.Generator:
    """The stream of Gaussian noise, on ``device``.

    PyTorch's CPU generator uses only the low 32 bits of a seed, so a thief who knows the gradients could try all seeds.
    Its whole 19,968-bit state is therefore filled here. On CUDA and MPS (Philox) the seed itself has 64 bits.
    """
    generator = torch.Generator(device=device)
    if device.type != "cpu":
        generator.manual_seed(int.from_bytes(_entropy(seed, 2).tobytes(), "little") >> 1)
        return generator
    state = generator.manual_seed(0).get_state()
    if state.numel() != _STATE_BYTES:
        raise RuntimeError(f"PyTorch's CPU generator state has {state.numel()} bytes, {_STATE_BYTES} are expected.")
    words = state.numpy()[_WORDS_AT : _WORDS_AT + 8 * _WORDS].view(np.uint64)
    words[:] = _entropy(seed, _WORDS)
    return generator.set_state(state)


def _sequence(seed: int | None, stream: int) -> np.random.SeedSequence:
    # Without a seed, SeedSequence itself takes 128 bits from the operating system.
    return np.random.SeedSequence() if seed is None else np.random.SeedSequence(seed, spawn_key=(stream,))


def _entropy(seed: int | None, words: int) -> np.ndarray:
    if seed is None:
        return np.frombuffer(os.urandom(4 * words), dtype=np.uint32)
    return _sequence(seed, _NOISE).generate_state(words)
