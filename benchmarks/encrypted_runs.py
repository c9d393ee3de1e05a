"""One job with every encryption and several owners: the same seeds, so that what a mode changes is seen; accuracy, drift and cost.

Rows with one owner have the same batches and the same noise as the row without encryption: their accuracies differ by the store's
rounding alone. Rows with several owners draw noise and batches from other streams: they lie within the spread of seeds.
"""

from __future__ import annotations

import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.common import arguments, machine, report
from privlab.config import load_preset

#: Row → settings that differ from the base.
ROWS: dict[str, dict[str, object]] = {
    "none": {},
    "sealed": {"encryption__mode": "sealed"},
    "BFV": {"encryption__mode": "bfv"},
    "CKKS": {"encryption__mode": "ckks"},
    "pad": {"encryption__mode": "pad"},
    "BFV, 3 owners": {"encryption__mode": "bfv", "encryption__owners": 3},
    "CKKS, 3 owners": {"encryption__mode": "ckks", "encryption__owners": 3},
    "pad, 3 owners": {"encryption__mode": "pad", "encryption__owners": 3},
    "pad, 10 owners": {"encryption__mode": "pad", "encryption__owners": 10},
    "pad, 5 owners, masks": {
        "encryption__mode": "pad",
        "encryption__owners": 5,
        "encryption__aggregation": "masks",
    },
    "the same, 2 of 5 may drop out, 20 % do": {
        "encryption__mode": "pad",
        "encryption__owners": 5,
        "encryption__aggregation": "masks",
        "encryption__dropouts": 2,
        "encryption__dropout_rate": 0.2,
    },
}
_PHASES = ("encrypt", "transfer", "decrypt")


def measured(task: tuple[str, int, int]) -> dict[str, float]:
    """Metrics of the last point of one run."""
    import torch

    from privlab.metrics import Point
    from privlab.training.train import train

    torch.set_num_threads(1)
    row, seed, epochs = task
    config = load_preset("digits").replace(
        privacy__randomness="reproducible",
        training__seed=seed,
        training__epochs=epochs,
        training__curve_points=10,
        **ROWS[row],
    )
    points = [item for item in train(config) if isinstance(item, Point)]
    return points[-1].metrics | {"epsilon": points[-1].epsilon, "steps": points[-1].step, "seconds": points[-1].seconds}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    tasks = [(row, seed, given.epochs) for row in given.rows for seed in range(given.seeds)]
    found = {}
    with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
        for task, result in zip(tasks, pool.map(measured, tasks), strict=True):
            found[task] = result
            print(
                f"{len(found)} of {len(tasks)}: {task[0]}, seed {task[1]}: {100 * result['test_accuracy']:.2f} %",
                file=sys.stderr,
            )
    rows = []
    for row in given.rows:
        each = [found[row, seed, given.epochs] for seed in range(given.seeds)]
        accuracies = [100 * one["test_accuracy"] for one in each]
        rows.append(
            {
                "run": row,
                "epsilon": each[0]["epsilon"],
                "mean accuracy %": statistics.fmean(accuracies),
                "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
                "each %": " ".join(f"{one:.2f}" for one in accuracies),
                "largest drift": max(one.get("drift", 0.0) for one in each),
                "kB sent a step": each[0].get("bytes_sent", 0.0) / 1e3,
                "kB received a step": each[0].get("bytes_received", 0.0) / 1e3,
                **{
                    f"{phase} ms a step": statistics.median(1e3 * one[f"time_{phase}"] for one in each)
                    for phase in _PHASES
                },
                "ms a step in all": statistics.median(1e3 / one["steps_per_second"] for one in each),
            }
        )
    title = f"digits, MLP, {int(each[0]['steps'])} steps: every encryption with the same seeds"
    report(given.json, title, machine("torch", "opacus", "tenseal", "cryptography"), rows)


if __name__ == "__main__":
    main()
