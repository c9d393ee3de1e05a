"""Where to compute."""

from __future__ import annotations

import torch

from privlab.config import ConfigError


def choose_device(name: str) -> torch.device:
    """The device for ``auto`` (CUDA, then MPS, then the CPU), ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ConfigError: at ``performance.device``, if the machine does not have it.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in present.items() if there)
    if not present[name]:
        here = " or ".join(kind for kind, there in present.items() if there)
        raise ConfigError.at(
            "performance.device", f"device={name} is not available on this machine; choose auto or {here}."
        )
    if name == "cuda":
        # TF32 rounds to 10 bits, differently in the pass that finds the norms and in the one that sums: C would not hold.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)
