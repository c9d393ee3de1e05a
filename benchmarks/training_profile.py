"""Where a logical step's time goes: PyTorch's operations by their share, for the rivals of one row that live in this process.

``python -m benchmarks.training_profile --rows gpt cnn``. Shares are of processor time without what an operation calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import arguments, machine, report
from benchmarks.training.rivals import RIVALS, TITLES, Runner
from benchmarks.training.work import WORK

#: Operations that a table names; the rest is one line.
_MOST = 12


def shares(turn: Callable[[int], object], steps: int) -> dict[str, float]:
    """Share of each operation in ``turn(steps)``, the largest first, and of all others together."""
    turn(1)
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        turn(steps)
    spent = {each.key.removeprefix("aten::"): each.self_cpu_time_total for each in watched.key_averages()}
    whole = sum(spent.values())
    found = {key: spent[key] / whole for key in sorted(spent, key=spent.__getitem__, reverse=True)[:_MOST]}
    return found | {"all others": 1 - sum(found.values())}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=["privlab", "sgd"])
    parser.add_argument("--steps", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # of PyTorch, about hooks and layouts
    for key in given.rows:
        for name in given.rivals:
            found = shares(Runner(name, WORK[key], torch.device("cpu")).turn, given.steps)
            rows = [{"operation": operation, "share": f"{share:.1%}"} for operation, share in found.items()]
            report(given.json, f"{WORK[key].title}: {TITLES[name]}", {"row": key} | machine("torch"), rows)


if __name__ == "__main__":
    main()
