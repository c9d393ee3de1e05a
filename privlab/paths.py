"""Where PrivLab's code lies, and where it keeps things: one folder, ``PRIVLAB_HOME``, readable by its owner only."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

#: The folder that holds the package. ``python -m privlab…`` finds it from there, whether it is installed or not.
SOURCE = Path(__file__).parents[1]


def python_path() -> str:
    """``PYTHONPATH`` for a process that is to find PrivLab from any folder, ours kept."""
    return os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])


def home() -> Path:
    """``$PRIVLAB_HOME``, or a per-user data folder. Created with mode 0700."""
    chosen = os.environ.get("PRIVLAB_HOME")
    place = Path(chosen).expanduser().absolute() if chosen else user_data_path("privlab")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def _folder(*parts: str) -> Path:
    place = home().joinpath(*parts)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def data_dir() -> Path:
    """Fetched data sets and cached features."""
    return _folder("data")


def keys_dir() -> Path:
    """Key files of sealed runs."""
    return _folder("keys")


def certificates_dir() -> Path:
    """Certificates to reach a store server on another host (``python -m privlab.encryption.store.tls``)."""
    return _folder("certificates")


def costs_dir() -> Path:
    """What steps were measured to cost on this machine."""
    return _folder("costs")


def kernels_file() -> Path:
    """Which of several equal ways through a layer was measured to be quickest on this machine."""
    return home() / "kernels.json"


def log_dir() -> Path:
    return _folder("logs")


def runs_dir() -> Path:
    return _folder("runs")


def run_dir(run_id: str) -> Path:
    """Checkpoints and weights of one run."""
    return _folder("runs", run_id)
