"""The parameter stores: seconds, bytes and memory of an update and of an opening, by mode and number of parameters.

An update is what one owner does in a step: encrypt, send, and have the server add and commit it. An opening is fetching, checking and decrypting the
state. The server is a process of its own on this machine, as in a run; client and server have one thread each. Exits with 1 if a stored state differs
from its plain twin, or if a million parameters miss a target: BFV ≤ 0.6 s and ≤ 15.2 B each, masked ≤ 30 ms and 4 B each, by the best of the turns,
since other work on a shared machine can only add to a time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.common import arguments, machine, report, spread
from privlab.encryption.fixedpoint import BFV_MODULUS, PAD_MODULUS, FixedPointTwin
from privlab.encryption.store import open_store

MODES = ("pad", "bfv", "ckks")
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
MODULI = {"pad": PAD_MODULUS, "bfv": BFV_MODULUS}
#: Most seconds of an update and most bytes a parameter, for a million parameters. Framing adds less than 0.01 B to the masked 4 B.
TARGETS = {"pad": (0.03, 4.01), "bfv": (0.6, 15.2)}
#: Turns: at least, at most, and no new one after so many seconds.
FEWEST, MOST, SECONDS = 2, 30, 20.0


def measure(mode: str, size: int) -> dict[str, Any]:
    """One row. Run in a process of its own, so that the peak of memory is this row's."""
    random = np.random.default_rng(0)
    start, update = random.normal(size=size), 0.001 * random.normal(size=size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store = open_store(mode, size)
    store.put(start, 0)
    update_seconds, update_processor, open_seconds, began, turns = [], [], [], time.perf_counter(), 0
    sent = store.traffic.sent
    while turns < FEWEST or (turns < MOST and time.perf_counter() - began < SECONDS):
        turns += 1
        first, processor = time.perf_counter(), time.process_time()
        store.contribute(0, update, turns)
        store.commit(turns)
        update_processor.append(time.process_time() - processor)
        second = time.perf_counter()
        stored = store.open()
        third = time.perf_counter()
        update_seconds.append(second - first)
        open_seconds.append(third - second)
    bytes_each = (store.traffic.sent - sent) / turns / size
    server_bytes = store.server_memory()
    store.close()
    client = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if mode in MODULI:
        twin = FixedPointTwin(MODULI[mode])
        twin.put(start)
        for _ in range(turns):
            twin.add(update)
        off = float(np.abs(stored - twin.open()).max())
    else:
        off = float(np.abs(stored - (start + turns * update)).max())
    taken = spread(update_seconds)
    return {
        "mode": mode,
        "parameters": size,
        "update s, best": taken["min"],
        "median": taken["median"],
        "worst": taken["max"],
        "client's CPU s, best": min(update_processor),
        "open s, best": min(open_seconds),
        "turns": turns,
        "B each": bytes_each,
        "client MB": round(client / 1024),
        "server MB": round(server_bytes / 1e6),
        "off by": off,
    }


def misses(row: dict[str, Any]) -> list[str]:
    """What a row fails to be."""
    found = []
    if row["off by"] > (1e-6 if row["mode"] == "ckks" else 0.0):
        found.append(f"{row['mode']} {row['parameters']}: differs from its twin by {row['off by']:.3g}")
    if row["parameters"] == 1_000_000 and row["mode"] in TARGETS:
        seconds, size = TARGETS[row["mode"]]
        if row["update s, best"] > seconds:
            found.append(f"{row['mode']}: {row['update s, best']:.3g} s an update, target {seconds} s")
        if row["B each"] > size:
            found.append(f"{row['mode']}: {row['B each']:.4g} B each, target {size} B")
    return found


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest number of parameters")
    parser.add_argument("--row", nargs=2, help="measure one row and print it: mode and number of parameters")
    given = parser.parse_args()
    if given.row:
        print(json.dumps(measure(given.row[0], int(given.row[1]))))
        return 0
    rows = []
    for size in (size for size in SIZES if size <= given.most):
        for mode in given.modes:
            command = [sys.executable, "-m", "benchmarks.encryption_store", "--row", mode, str(size)]
            rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    where = machine("tenseal", "cryptography", "numpy") | {"load": f"{os.getloadavg()[0]:.1f}"}
    report(given.json, "Parameter stores", where, rows)
    missed = [line for row in rows for line in misses(row)]
    for line in missed:
        print(f"  MISSED {line}", file=sys.stderr)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
