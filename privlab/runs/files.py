"""Where a run's files are. Both pass through the run's vault."""

from __future__ import annotations

from pathlib import Path

from privlab import paths
from privlab.runs.record import Run


def checkpoint_path(run_id: str) -> Path:
    """The state that the run goes on from (:class:`privlab.training.checkpoint.Checkpoint`)."""
    return paths.run_dir(run_id) / "checkpoint.plab"


def weights_path(run: Run) -> Path:
    """The run's released weights: a safetensors file, sealed if its settings say so."""
    sealed = run.config.encryption.is_sealed
    return paths.run_dir(run.id) / ("weights.plab" if sealed else "weights.safetensors")
