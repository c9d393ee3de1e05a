"""A third opinion: ε by Opacus's PRV accountant (Gopi, Lee, Wutschitz 2021, arXiv:2106.02848), which is an upper bound some
0.01 above the truth. It can run for minutes, ask for all memory or end in ∞, so it works in a process of its own under
limits, and this module stays free of torch."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable

from privlab import paths
from privlab.privacy.phases import Phase, merged

_PROGRAM = "privlab.training.prv"
#: Exit status of the program when memory ran out.
OUT_OF_MEMORY = 3
#: Bytes that the accountant may ask for beyond what its libraries take.
MEMORY = 3 * 2**30
#: What Opacus adds to its estimate so that it is an upper bound.
EXCESS = 0.01


class AccountantTimeout(RuntimeError):
    """The accountant was not done in time."""


class AccountantUnavailable(RuntimeError):
    """The accountant gave no usable number."""


def prv_epsilon(phases: Iterable[Phase], delta: float, *, limit_seconds: float = 30.0) -> float:
    """Upper bound on ε of all steps of ``phases`` by Opacus's PRV accountant (one record added or removed). Takes some
    seconds, most of them to load Opacus.

    Args:
        limit_seconds: seconds of real time after which it is stopped.

    Raises:
        ValueError: δ outside 0…1, or no phases.
        AccountantTimeout: not done in time.
        AccountantUnavailable: it ran out of memory, failed, or found no finite number.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta:g} must lie above 0 and below 1.")
    given = merged(phases)
    if not given:
        raise ValueError("phases is empty, so there is nothing to account.")
    asked = {
        "phases": [[phase.sample_rate, phase.noise_multiplier, phase.steps] for phase in given],
        "delta": delta,
        "memory": MEMORY,
    }
    try:
        done = subprocess.run(
            (sys.executable, "-m", _PROGRAM),
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=limit_seconds,
            cwd=paths.SOURCE,
            # It shares the machine with trainings.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise AccountantTimeout(
            f"Opacus's PRV accountant was not done after {limit_seconds:g} s and was stopped; it says nothing about this "
            "training."
        ) from None
    except OSError as error:
        raise AccountantUnavailable(
            f"Opacus's PRV accountant could not be started: {error.strerror or error}."
        ) from None
    if done.returncode == OUT_OF_MEMORY or "MemoryError" in done.stderr or done.returncode in (-6, -9):
        raise AccountantUnavailable(
            f"Opacus's PRV accountant needs more than {MEMORY / 2**30:g} GiB of memory for this training; it says nothing "
            "about it."
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise AccountantUnavailable(f"Opacus's PRV accountant failed: {last[0]}")
    return _finite(done.stdout)


def _finite(said: str) -> float:
    try:
        value = float(said)
    except ValueError:
        raise AccountantUnavailable("Opacus's PRV accountant printed no number.") from None
    if not math.isfinite(value):
        raise AccountantUnavailable(
            f"Opacus's PRV accountant found no finite ε (it says {value:g}); its grid is too short for this training."
        )
    return max(0.0, value)
