"""The far side of a peer: a process in an environment of its own that takes turns when told to on standard input.

Imports nothing but Python's own library and numpy, which every peer has.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np


def one_core() -> None:
    """Keep this process on one core, so that libraries that ask for the number of cores start one thread. Call before
    importing them."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def told() -> dict:
    """The work: ``row``, ``batch``, ``physical``, ``sigma``, ``clip``, ``rate``, and ``x`` and ``y`` as arrays."""
    work = json.loads(sys.argv[1])
    work["x"], work["y"] = np.load(work["x"]), np.load(work["y"])
    return work


def serve(step, facts: dict) -> None:
    """Print ``facts``, then for each line with a number take that many steps and print records and CPU seconds.

    Args:
        step: takes one step and gives the number of its records, when the device has finished it.
    """
    out = os.fdopen(os.dup(1), "w")
    print(json.dumps(facts), file=out, flush=True)
    for line in sys.stdin:
        began = time.process_time()
        records = sum(step() for _ in range(int(line)))
        print(json.dumps([records, time.process_time() - began]), file=out, flush=True)
