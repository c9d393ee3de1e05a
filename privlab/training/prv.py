"""``python -m privlab.training.prv``: ε by Opacus's PRV accountant, in a process of its own.

Reads ``{"phases": [[q, σ, steps], …], "delta": δ, "memory": bytes}`` from standard input and prints one number. Opacus's
accountant can run for minutes, ask for all memory or end in ∞; whoever starts this (:mod:`privlab.privacy.prv`) limits its
time, and it limits its own memory.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence

from privlab.privacy.prv import OUT_OF_MEMORY


def limit_memory(more: int) -> None:
    """Let this process map at most ``more`` bytes beyond what it has now; nothing happens where the system cannot."""
    try:
        import resource

        import psutil

        most = psutil.Process().memory_info().vms + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (ImportError, ValueError, OSError):
        pass


def upper_bound(phases: Sequence[tuple[float, float, int]], delta: float) -> float:
    """Opacus's upper bound on ε of ``phases`` (q, σ, steps); may be inf or take for ever."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(sigma, q, steps) for q, sigma, steps in phases]
    return float(accountant.get_epsilon(delta))


def main() -> int:
    """Print ε of what standard input asks for; the exit status is 0, or :data:`privlab.privacy.prv.OUT_OF_MEMORY`."""
    asked = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    import opacus.accountants  # noqa: F401  (its libraries do not count)

    limit_memory(int(asked["memory"]))
    try:
        print(repr(upper_bound(asked["phases"], asked["delta"])))
    except MemoryError:
        return OUT_OF_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main())
