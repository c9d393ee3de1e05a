"""Which noise a run gets: the one place that turns settings into a source."""

from __future__ import annotations

from typing import Literal

import torch

from privlab.dpsgd.correlated import CorrelatedNoise
from privlab.dpsgd.gaussian import CipherNoise, IndependentNoise, NoiseSource, PlainNoise
from privlab.dpsgd.randomness import Policy, noise_stream, plain_generator
from privlab.dpsgd.rounded import RoundedNoise
from privlab.dpsgd.shares import SharedNoise

Protection = Literal["none", "rounded"]


def noise_source(
    policy: Policy,
    protection: Protection,
    bands: int,
    device: torch.device,
    seed: int | None,
    owners: int = 1,
    fewest: int = 1,
) -> NoiseSource:
    """The noise of one run.

    Args:
        policy: ``private`` (stream cipher keyed by the operating system), ``plain`` (PyTorch's generator filled by the
            operating system) or ``reproducible`` (stream cipher keyed by ``seed``).
        protection: ``rounded`` adds whole numbers; they always come from the cipher.
        bands: b > 1 correlates the noise of b steps in a row.
        device: where the sums are.
        seed: public number; only ``reproducible`` uses it.
        owners, fewest: see :class:`~privlab.dpsgd.shares.SharedNoise`.

    Raises:
        ValueError: rounded noise with the plain generator or with bands, or any of these shared by several owners, for which
            no guarantee is worked out; or an unknown word.
    """
    if owners > 1:
        if bands > 1 or protection != "none":
            raise ValueError(
                f"{owners} owners with bands={bands}, protection={protection}: only independent noise is shared."
            )
        return SharedNoise([_independent(policy, device, seed, owner) for owner in range(owners)], fewest)
    if protection == "rounded":
        if bands > 1:
            raise ValueError(
                f"protection=rounded with bands={bands}: rounding is worked out for independent noise only."
            )
        if policy == "plain":
            raise ValueError("protection=rounded with randomness=plain: whole-number noise comes from the cipher only.")
        return RoundedNoise(noise_stream(policy, seed))
    if protection != "none":
        raise ValueError(f"protection={protection!r} is unknown; choose none or rounded.")
    source = _independent(policy, device, seed)
    return CorrelatedNoise(source, bands) if bands > 1 else source


def _independent(policy: Policy, device: torch.device, seed: int | None, owner: int | None = None) -> IndependentNoise:
    if policy == "plain":
        return PlainNoise(plain_generator(device))
    return CipherNoise(noise_stream(policy, seed, owner))
