"""Records per processor second: PrivLab, Opacus, vmap, training without privacy, and peers of other frameworks.

Same model, records, batch size, σ and C, one thread. The rivals take turns of about a second, in one process where they are
PyTorch's, so that whatever else the machine does hits all of them; a ratio is taken turn by turn. Times are processor time
(with ``--device cuda`` seconds by the wall; peers stay on the processor and are left out).
"""

from __future__ import annotations

import time
import warnings

import torch

from benchmarks.common import arguments, keep, machine, report, spread
from benchmarks.training.peers import PEERS
from benchmarks.training.rivals import ON_REQUEST, RIVALS, TITLES, Runner, missing, names
from benchmarks.training.work import WORK, Work

TITLE = "Training speed, records a processor second, one thread"
#: What one turn lasts, at least one logical step.
_TURN_SECONDS = 0.8
#: Longest that one row's turns should take in all, in seconds; at least three turns are taken.
_ROW_SECONDS = 110
#: A step this long is warm-up enough.
_LONG_SECONDS = 2
#: A rival that needs longer for one logical step takes two turns and no more.
_SLOW_SECONDS = 10


def take_turns(runners: list[Runner], most_turns: int) -> dict[str, list[float]]:
    """Records a second of each runner, turn by turn."""
    steps, slow, a_round = {}, set(), 0.0
    for runner in runners:
        _, seconds = runner.turn(1)  # compiles, allocates, probes
        if seconds < _LONG_SECONDS or runner.name in PEERS:
            runner.turn(1)
            _, seconds = runner.turn(1)
        steps[runner.name] = max(1, min(500, round(_TURN_SECONDS / seconds)))
        if seconds > _SLOW_SECONDS:
            slow.add(runner.name)
        else:
            a_round += max(seconds, _TURN_SECONDS)
    turns = min(most_turns, max(3, int(_ROW_SECONDS / max(a_round, _TURN_SECONDS))))
    speeds: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for number in range(turns):
        for runner in runners:
            if runner.name in slow and number >= 2:
                continue
            records, seconds = runner.turn(steps[runner.name])
            speeds[runner.name].append(records / seconds)
    return speeds


def ratios(speeds: dict[str, list[float]], name: str, of: str) -> dict[str, float]:
    # Slow rivals took the first turns only.
    return spread(a / b for a, b in zip(speeds[name], speeds[of], strict=False))


def measure(work: Work, wanted: list[str], device: torch.device, turns: int) -> dict:
    """One row: every rival's speed, and its ratio to Opacus's own way and to training without privacy."""
    reasons = {name: missing(name) for name in wanted}
    runners = [Runner(name, work, device) for name in wanted if not reasons[name]]
    try:
        speeds = take_turns(runners, turns)
    finally:
        for runner in runners:
            runner.close()
    baseline = next((name for name in ("opacus-example", "opacus-tensors") if name in speeds), None)
    free = [name for name in speeds if name.startswith("sgd")]
    best = max(free, key=lambda name: spread(speeds[name])["median"], default=None)
    found = {}
    for name, values in speeds.items():
        found[name] = {"records/s": spread(values)}
        if baseline:
            found[name]["of baseline"] = ratios(speeds, name, baseline)
        if best:
            found[name]["of best sgd"] = ratios(speeds, name, best)
    versions = {key: value for runner in runners for key, value in runner.facts.items() if key != "parameters"}
    return {
        "title": work.title,
        "parameters": sum(p.numel() for p in work.model().parameters() if p.requires_grad),
        "records": len(work.records()[1]),
        "baseline": baseline,
        "best sgd": best,
        "rivals": found,
        "left out": {name: reason for name, reason in reasons.items() if reason},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "machine": machine("torch", "opacus") | versions,
        "taken": time.strftime("%Y-%m-%d %H:%M"),
    }


def lines(row: dict) -> list[dict]:
    """A row as lines of a table."""
    told = []
    for name, figures in row["rivals"].items():
        speed, baseline, best = (figures.get(key) for key in ("records/s", "of baseline", "of best sgd"))
        told.append({"rival": TITLES[name], "records/s": speed["median"], "range": _range(speed, ".0f")})
        if baseline:
            told[-1] |= {"x baseline": baseline["median"], "its range": _range(baseline, ".2f")}
        if best:
            told[-1]["x best sgd"] = best["median"]
    return told


def _range(figures: dict[str, float], form: str) -> str:
    return f"{figures['min']:{form}}–{figures['max']:{form}}"


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--rivals", nargs="+", choices=TITLES, help=f"default: all but {', '.join(sorted(ON_REQUEST))}")
    parser.add_argument("--turns", type=int, default=9, help="most turns of each rival")
    parser.add_argument("--device", default="cpu", help="cuda: not tried yet")
    parser.add_argument("--dry", action="store_true", help="do not write benchmarks/results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings(
        "ignore"
    )  # of Opacus and PyTorch, about hooks and generators; they would be printed each turn
    device = torch.device(given.device)
    for key in given.rows:
        work = WORK[key]
        able = [name for name in [*RIVALS, *PEERS] if name in names(work)]
        wanted = [name for name in able if (name in given.rivals if given.rivals else name not in ON_REQUEST)]
        if device.type != "cpu":
            wanted = [name for name in wanted if name not in PEERS]
        row = measure(work, wanted, device, given.turns)
        where = {"row": key} | row["machine"] | {"left out": row["left out"] or "nobody"}
        report(given.json, f"{work.title}, against {TITLES.get(row['baseline'], 'nobody')}", where, lines(row))
        if not given.dry:
            keep("training_speed" if device.type == "cpu" else f"training_speed_{device.type}", TITLE, {key: row})


if __name__ == "__main__":
    main()
