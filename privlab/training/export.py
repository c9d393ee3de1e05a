"""The finished model as a safetensors file that any framework reads."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch

from privlab.encryption import Vault
from privlab.privacy.accounting import epsilon_curve
from privlab.training.checkpoint import Checkpoint


def weights_file(checkpoint: Checkpoint) -> bytes:
    """The released weights by parameter name, float32, with what was promised about them.

    The file's metadata holds ``config`` and ``plan`` (JSON), ``step``, ``delta`` and ``epsilon`` spent until then
    (``inf`` where no guarantee is claimed).
    """
    spent = float(epsilon_curve(checkpoint.plan, [checkpoint.step])[0]) if checkpoint.step else 0.0
    notes = {
        "format": "pt",
        "config": json.dumps(checkpoint.config.to_dict()),
        "plan": json.dumps(checkpoint.plan.to_dict()),
        "step": str(checkpoint.step),
        "delta": repr(checkpoint.plan.delta),
        "epsilon": repr(spent),
    }
    return safetensors.torch.save({name: w.contiguous() for name, w in checkpoint.weights.items()}, notes)


def export_weights(checkpoint: Checkpoint, vault: Vault, path: Path) -> None:
    """Write :func:`weights_file` to ``path``, sealed if ``vault`` seals. Raises OSError or SealError."""
    vault.write(path, weights_file(checkpoint))
