"""Where the coin flips and the noise come from: the operating system's entropy, or a known seed.

Three policies. ``private``: streams of AES-256 whose keys are the operating system's entropy; nobody can redraw the batches
or subtract the noise. ``plain``: batches as above, noise from PyTorch's own generator, filled by the operating system; not
cryptographic. ``reproducible``: the private code with keys made from a known seed, and **not** private.
Batches and noise always come from different streams.
"""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import torch

from privlab.dpsgd.cipher import CipherStream

Policy = Literal["private", "plain", "reproducible"]

#: Layout of the CPU generator's state: 24 bytes of counters, then 624 Mersenne Twister words, each in a 64-bit cell.
_WORDS, _WORDS_AT, _STATE_BYTES = 624, 24, 5056


def coins(policy: Policy, seed: int | None, owner: int | None = None) -> CipherStream:
    """The stream of coin flips that make the batches; from the cipher under every policy.

    Args:
        owner: which of several data owners flips; each has a stream of its own.

    Raises:
        ValueError: an unknown policy, or ``reproducible`` without a seed.
    """
    return CipherStream(_public(policy, seed), _of("batches", owner))


def noise_stream(policy: Policy, seed: int | None, owner: int | None = None) -> CipherStream:
    """The stream that cipher noise is made from. Raises as :func:`coins`."""
    return CipherStream(_public(policy, seed), _of("noise", owner))


def _of(purpose: str, owner: int | None) -> str:
    return purpose if owner is None else f"{purpose} of owner {owner}"


def _public(policy: Policy, seed: int | None) -> int | None:
    """The seed where the policy uses one."""
    if policy in ("private", "plain"):
        return None
    if policy != "reproducible":
        raise ValueError(f"randomness={policy!r} is unknown; choose private, plain or reproducible.")
    if seed is None:
        raise ValueError("randomness=reproducible needs a seed; none is given.")
    return seed


def plain_generator(device: torch.device) -> torch.Generator:
    """PyTorch's generator on ``device``, filled by the operating system.

    PyTorch's CPU generator uses only the low 32 bits of a seed, so a thief who knows the gradients could try all seeds.
    Its whole 19,968-bit state is therefore filled here. On CUDA and MPS (Philox) the seed itself has 64 bits.
    """
    generator = torch.Generator(device=device)
    if device.type != "cpu":
        generator.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
        return generator
    state = generator.manual_seed(0).get_state()
    if state.numel() != _STATE_BYTES:
        raise RuntimeError(f"PyTorch's CPU generator state has {state.numel()} bytes, {_STATE_BYTES} are expected.")
    words = state.numpy()[_WORDS_AT : _WORDS_AT + 8 * _WORDS].view(np.uint64)
    words[:] = np.frombuffer(os.urandom(4 * _WORDS), dtype=np.uint32)
    return generator.set_state(state)
