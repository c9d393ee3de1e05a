"""Training on ciphertext: seconds of a step by phase, bytes, and how far the weights are from the plain twin's.

Logistic regression, full batch, noise inside the ciphertext (``privlab.encryption.fully``): breast cancer (455 × 31) and digits 0/1
(289 × 63), records and weights encrypted (c2) or weights alone (c1). The server is a process of its own without the secret key.
"""

from __future__ import annotations

import resource
from typing import Any

from benchmarks.common import arguments, machine, report, spread
from privlab.encryption.fully import datasets
from privlab.encryption.fully.config import FullyConfig
from privlab.encryption.fully.train import train_encrypted


def row(dataset: str, mode: str, steps: int) -> dict[str, Any]:
    data = datasets.load(dataset)
    given = data.train_x, data.train_y, data.test_x, data.test_y
    # The server's processor time is known once it has ended; what a start takes is that of a training of one step.
    begin = _ended_processes()
    list(train_encrypted(FullyConfig(mode=mode, steps=1), *given))
    short = _ended_processes() - begin
    start, *points = train_encrypted(FullyConfig(mode=mode, steps=steps), *given)
    processor = (_ended_processes() - begin - 2 * short) / (steps - 1)
    phases = {name: spread(p.seconds[name] for p in points) for name in ("encrypt", "server", "transfer", "decrypt")}
    whole = spread(sum(seconds for name, seconds in p.seconds.items() if name != "twin") for p in points)
    last = points[-1]
    return {
        "data": f"{dataset} {data.train_x.shape[0]}x{data.train_x.shape[1]}",
        "mode": mode,
        "steps": steps,
        "step s": whole["median"],
        "fastest s": whole["min"],
        "slowest s": whole["max"],
        "server processor s": processor,
        **{f"{name} ms": 1e3 * phase["median"] for name, phase in phases.items()},
        "plain ms": 1e3 * spread(p.seconds["twin"] for p in points)["median"],
        "epsilon": last.epsilon,
        "accuracy %": 100 * last.accuracy,
        "twin %": 100 * last.twin_accuracy,
        "weights differ": max(p.weight_difference for p in points),
        "up kB": last.bytes_up / 1e3,
        "down kB": last.bytes_down / 1e3,
        "start s": start.seconds["encrypt"] + start.seconds["server"],
        "start MB": start.bytes_up / 1e6,
    }


def _ended_processes() -> float:
    """Processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    given = parser.parse_args()
    rows = [row(dataset, mode, given.steps) for dataset in datasets.DATASETS for mode in ("c2", "c1")]
    where = machine("tenseal", "numpy")
    # The server processes have ended, so the largest of them is known.
    where["largest server MB"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3)
    report(given.json, "Training on ciphertext", where, rows)


if __name__ == "__main__":
    main()
