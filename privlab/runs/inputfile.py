"""Have the inputs of a run written by a process that may load torch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from privlab import paths
from privlab.config import RunConfig

_MODULE = "privlab.training.inputfile"
#: Longest that reading and tokenising may take, seconds.
_LIMIT = 600


class InputsMissing(RuntimeError):
    """The inputs cannot be had here; the message says why, in plain words."""


def inputs_npz(config: RunConfig) -> bytes:
    """The inputs that ``config`` trains on, as :mod:`privlab.training.inputfile` writes them. Takes some seconds.

    Raises:
        InputsMissing: the records are not on this machine, or the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="privlab-inputs-") as folder:
        file = Path(folder) / "inputs.npz"
        try:
            done = subprocess.run(
                [sys.executable, "-m", _MODULE, str(file)],
                input=config.to_json(),
                capture_output=True,
                text=True,
                cwd=paths.SOURCE,
                timeout=_LIMIT,
            )
        except subprocess.TimeoutExpired:
            raise InputsMissing(f"The inputs were not ready after {_LIMIT} seconds.") from None
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise InputsMissing(f"The inputs cannot be written: {said}")
        return file.read_bytes()
