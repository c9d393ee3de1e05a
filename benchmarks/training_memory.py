"""Peak memory of each way to train, against training without privacy: each in a fresh process, three logical steps.

“over” is what training adds to a process that has loaded the libraries and the records; the process's peak holds these too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings

import torch

from benchmarks.common import arguments, keep, machine, report
from benchmarks.training.peers import PEERS, peak_bytes
from benchmarks.training.rivals import ON_REQUEST, RIVALS, TITLES, Runner, missing, names
from benchmarks.training.work import WORK

TITLE = "Peak memory of training, MB"
_STEPS, _MB = 3, 1e6


def child(row: str, name: str) -> None:
    """Train a little in this process and print its peak before and after."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    WORK[row].records()
    before = peak_bytes(os.getpid())
    Runner(name, WORK[row], torch.device("cpu")).turn(_STEPS)
    print(json.dumps([before / _MB, peak_bytes(os.getpid()) / _MB]))


def peaks(row: str, name: str) -> tuple[float, float]:
    """Peak MB of a fresh process before and after training."""
    command = [sys.executable, "-m", "benchmarks.training_memory", "--child", row, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout.splitlines()[-1])
    return before, after


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--rivals", nargs="+", choices=RIVALS)
    parser.add_argument("--child", nargs=2, metavar=("ROW", "RIVAL"), help="used by this script itself")
    parser.add_argument("--dry", action="store_true", help="do not write benchmarks/results")
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    for key in given.rows:
        able = [name for name in names(WORK[key]) if name not in PEERS and not missing(name)]
        wanted = [name for name in able if (name in given.rivals if given.rivals else name not in ON_REQUEST)]
        free = peaks(key, "sgd")
        rows = {}
        for name in wanted:
            before, after = free if name == "sgd" else peaks(key, name)
            rows[name] = {
                "peak MB": after,
                "over MB": after - before,
                "x sgd": after / free[1],
                "over, x sgd": (after - before) / (free[1] - free[0]),
            }
        where = machine("torch", "opacus")
        table = [{"rival": TITLES[name]} | figures for name, figures in rows.items()]
        report(given.json, f"{TITLE}: {WORK[key].title}", {"row": key} | where, table)
        if not given.dry:
            row = {"title": WORK[key].title, "rivals": rows, "machine": where}
            keep("training_memory", TITLE, {key: row | {"taken": time.strftime("%Y-%m-%d %H:%M")}})


if __name__ == "__main__":
    main()
