"""The environment in which SPU is: where it lies, and whether it is there."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

from privlab import paths

_VERSION = "0.9.5"
HOW_TO_GET = (
    "Secret-shared training needs SPU in an environment of its own (about 1 GB, because SPU needs older libraries): run "
    "`make spu` in PrivLab's folder once, then try again."
)


def python() -> Path:
    """Interpreter of the SPU environment: ``$PRIVLAB_SPU_PYTHON``, or ``.venv-spu`` beside PrivLab."""
    return Path(os.environ.get("PRIVLAB_SPU_PYTHON") or paths.SOURCE / ".venv-spu" / "bin" / "python")


def available() -> tuple[bool, str]:
    """(whether secret-shared training can run here, why or how to get it). Asks the environment once."""
    interpreter = python()
    if not interpreter.exists():
        return False, HOW_TO_GET
    found = _version(interpreter, interpreter.stat().st_mtime)
    if found != _VERSION:
        what = f"has SPU {found}, not {_VERSION}" if found else "has no working SPU"
        return False, f"The environment of {interpreter} {what}. {HOW_TO_GET}"
    return True, f"SPU {found}, three parties, simulated on one machine."


@lru_cache(maxsize=4)
def _version(interpreter: Path, changed: float) -> str | None:
    code = "import importlib.metadata as m, jax, spu; print(m.version('spu'))"
    try:
        done = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else None
