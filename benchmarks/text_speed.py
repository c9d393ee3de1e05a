"""Private training of transformers on one batch of texts: PyTorch without privacy, Opacus with hooks and with ghost clipping, PrivLab.

The same records, σ and C for all, one thread, processor time. Rivals take turns of about half a second in one process, in an order
that moves on by one each round, so that whatever else the machine does hits all of them; a ratio is taken round by round. Peak memory
is that of a fresh process of each. Loaders, samplers and stores are left out; the step, its noise and its update are in.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable

import torch

from benchmarks.common import arguments, machine, report
from benchmarks.training.peers import peak_bytes
from benchmarks.training.text_rivals import TEXT_RIVALS
from benchmarks.training.texts import TEXTS, TextWork
from benchmarks.training_profile import shares

#: What one turn lasts at least, and most steps of it.
_TURN_SECONDS, _MOST_STEPS = 0.5, 50
_FEW_STEPS, _MB = 3, 1e6


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """First quartile, median, third."""
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def turn(step: Callable[[], None], steps: int) -> float:
    """Processor seconds of a step."""
    began = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - began) / steps


def speeds(work: TextWork, rounds: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Records a processor second of each rival, round by round, and why others cannot."""
    steps, counts, reasons = {}, {}, {}
    for name, (_, make) in TEXT_RIVALS.items():
        try:
            step = make(work)
            turn(step, 1)
            counts[name] = max(1, min(_MOST_STEPS, round(_TURN_SECONDS / turn(step, 1))))
            steps[name] = step
        except Exception as error:  # whatever a rival makes of a model belongs in the table
            reasons[name] = f"{type(error).__name__}: {error}"
    found: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(rounds):
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            found[name].append(work.batch / turn(steps[name], counts[name]))
    return found, reasons


def child(model: str, part: str, name: str) -> None:
    """Take some steps in this process and print its peak before and after, in MB."""
    work = TEXTS[model].of(part)
    # Imports and records are no growth of training; a model without memory imports what it needs.
    with torch.device("meta"):
        work.model()
    work.records()
    before = peak_bytes(os.getpid())
    turn(TEXT_RIVALS[name][1](work), _FEW_STEPS)
    print(json.dumps([before / _MB, peak_bytes(os.getpid()) / _MB]))


def peaks(model: str, part: str, name: str) -> tuple[float, float]:
    """Peak MB of a fresh process, and by how much training raised it."""
    command = [sys.executable, "-m", "benchmarks.text_speed", "--child", model, part, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout.splitlines()[-1])
    return after, after - before


def lines(model: str, part: str, rounds: int) -> list[dict]:
    """One line a rival."""
    work, told = TEXTS[model].of(part), []
    found, reasons = speeds(work, rounds)
    memory = {name: peaks(model, part, name) for name in found}
    for name, (title, _) in TEXT_RIVALS.items():
        line = {"rival": title}
        if name in reasons:
            told.append(line | {"records/s": f"fails: {reasons[name]}"})
            continue
        line["records/s"] = _spread(found[name], ".3g")
        for of, column in (("opacus", "x Opacus hooks"), ("sgd", "x non-private")):
            if of in found:
                line[column] = _spread((a / b for a, b in zip(found[name], found[of], strict=True)), ".2f")
        line["peak MB"], line["growth MB"] = (f"{value:.0f}" for value in memory[name])
        if "sgd" in memory:
            line["peak, x"], line["growth, x"] = (
                f"{own / free:.2f}" for own, free in zip(memory[name], memory["sgd"], strict=True)
            )
        told.append(line)
    return told


def profiled(work: TextWork, names: Iterable[str]) -> list[dict]:
    """Share of each operation in a step of some rivals."""
    told = []
    for name in names:
        title, make = TEXT_RIVALS[name]
        step = make(work)
        found = shares(lambda steps, step=step: turn(step, steps), _FEW_STEPS)
        told += [
            {"rival": title, "operation": operation, "share": f"{share:.1%}"} for operation, share in found.items()
        ]
    return told


def _spread(values: Iterable[float], form: str) -> str:
    low, middle, high = quartiles(values)
    return f"{middle:{form}} ({low:{form}}–{high:{form}})"


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", choices=TEXTS, default=list(TEXTS))
    parser.add_argument("--part", nargs="+", choices=["all", "lora"], default=["all", "lora"])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each rival, at least 2")
    parser.add_argument(
        "--profile", nargs="+", choices=TEXT_RIVALS, help="shares of operations in these rivals' steps instead"
    )
    parser.add_argument("--child", nargs=3, metavar=("MODEL", "PART", "RIVAL"), help="used by this script itself")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error(f"--rounds {given.rounds}: quartiles need at least 2")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # of Opacus and PyTorch, about hooks and generators
    if given.child:
        child(*given.child)
        return
    for model in given.model:
        for part in given.part:
            work = TEXTS[model].of(part)
            title = f"{work.title}, {'full training' if part == 'all' else 'LoRA, rank 8, and head'}"
            if lacking := work.lacks():
                report(given.json, title, machine("torch", "opacus"), [{"left out": lacking}])
                continue
            where = machine("torch", "opacus") | {"load before": round(os.getloadavg()[0], 1)}
            trained = sum(p.numel() for p in work.model().parameters() if p.requires_grad)
            rows = profiled(work, given.profile) if given.profile else lines(model, part, given.rounds)
            report(given.json, title, where | {"trained parameters": trained}, rows)
            sys.stdout.flush()  # into a file, too, each table when it is known


if __name__ == "__main__":
    main()
