"""``sweep``: a search over settings from a file; the browser sees it too."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from privlab.cli.output import print_record
from privlab.metrics import METRICS
from privlab.runs.dispatcher import Dispatcher
from privlab.runs.store import Store
from privlab.runs.sweeprecord import Sweep
from privlab.sweeps import control
from privlab.sweeps.conductor import Conductor
from privlab.sweeps.cost import search_costs
from privlab.sweeps.progress import Progress, progress
from privlab.sweeps.results import Row, Standing, standing
from privlab.sweeps.space import in_words
from privlab.sweeps.spec import SweepSpec

#: Seconds between two looks at a sweep that is followed.
_EVERY = 1.0


def add_sweep_commands(commands: argparse._SubParsersAction) -> None:
    """Declare ``sweep`` and what it does."""
    sweep = commands.add_parser("sweep", help="search over settings: grid, random or guided, from a file")
    does = sweep.add_subparsers(required=True, metavar="command")

    check = does.add_parser("check", help="what a file would run, and what is refused and why; runs nothing")
    check.add_argument("file", type=Path, metavar="FILE.toml")
    check.set_defaults(act=check_sweep)

    run = does.add_parser("run", help="begin a sweep and follow it to its end; needs no app, and works beside one")
    start = run.add_mutually_exclusive_group(required=True)
    start.add_argument("file", type=Path, nargs="?", metavar="FILE.toml")
    start.add_argument("--resume", metavar="SWEEP", help="go on with a sweep that is here already")
    run.add_argument("--json", action="store_true", help="one JSON object a line, for each run that ended")
    run.set_defaults(act=run_sweep)

    does.add_parser("list", help="sweeps, newest first").set_defaults(act=list_sweeps)
    for name, say, act in (
        ("show", "one sweep: progress, trials, refused combinations, and what the search costs in privacy", show_sweep),
        ("pause", "launch no more, and pause what trains", _acting(control.pause)),
        (
            "resume",
            "go on with a paused or stopped sweep; the app, or “sweep run --resume”, does the work",
            _acting(control.resume),
        ),
        ("stop", "launch no more, and stop what trains", _acting(control.stop)),
        ("delete", "forget a sweep that is over; its runs stay", delete_sweep),
    ):
        command = does.add_parser(name, help=say)
        command.add_argument("sweep")
        command.set_defaults(act=act)

    extend = does.add_parser("extend", help="more combinations, more seeds for each, or a larger budget")
    extend.add_argument("sweep")
    extend.add_argument("--trials", type=int, default=0, metavar="N", help="more combinations (not of a grid)")
    extend.add_argument("--seeds", type=int, default=0, metavar="N", help="more seeds for each combination")
    extend.add_argument("--runs", type=int, default=0, metavar="N", help="larger budget of runs")
    extend.add_argument("--hours", type=float, default=0.0, metavar="H", help="larger budget of hours")
    extend.add_argument(
        "--epsilon", type=float, default=0.0, metavar="E", help="larger budget of ε for all runs together"
    )
    extend.set_defaults(act=extend_sweep)


def check_sweep(given: argparse.Namespace) -> int:
    """Exit status 0 if every combination can be launched."""
    spec = SweepSpec.from_file(given.file)
    print(_plan(spec))
    refused = [each for each in control.candidates(spec) if each.refused]
    for each in refused:
        print(f"refused: {in_words(each.values)}: {each.refused}")
    for problem in (problems := control.missing(spec)):
        print(f"missing: {problem.path}: {problem.message}")
    return 1 if refused or problems else 0


def _plan(spec: SweepSpec) -> str:
    varied = "; ".join(f"{axis.path}: {axis.to_raw()}" for axis in spec.space.axes)
    mean = "a number of combinations drawn at random, on average " if spec.trials_drawn else ""
    seeds = f"{spec.seeds} seed{'s' * (spec.seeds > 1)}"
    return (
        f"{spec.name}: {spec.method}, {mean}{spec.most_trials:,} combinations × {seeds} = {spec.most_runs:,} runs at most. "
        f"Varied: {varied}"
    )


def run_sweep(given: argparse.Namespace) -> int:
    """Begin or go on, and follow to the end; exit status 0 when it came to its end by itself."""
    store = Store()
    if given.resume:
        sweep = store.sweep(given.resume)
        if "resume" in control.actions(sweep):
            sweep = control.resume(store, sweep.id)
    else:
        sweep = control.create(store, SweepSpec.from_file(given.file))
    if not given.json:
        print(f"Sweep {sweep.id}. Ctrl-C pauses its runs; go on with: python -m privlab sweep run --resume {sweep.id}")
    # An app that is open holds the right to start runs; then these two do nothing, and it does the work.
    dispatcher = Dispatcher(store)
    conductor = Conductor(store, lambda: dispatcher.active)
    dispatcher.start()
    conductor.start()
    try:
        ended = _follow(store, dispatcher, conductor, sweep, given.json)
    finally:
        conductor.stop()
        dispatcher.stop()
    if not given.json:
        print(_shown(store, standing(store, sweep.id)))
    return 0 if ended.state == "finished" else 1


def _follow(store: Store, dispatcher: Dispatcher, conductor: Conductor, sweep: Sweep, as_json: bool) -> Sweep:
    seen: set[tuple[int, int]] = set()
    said, told = None, set()
    while True:
        now = standing(store, sweep.id)
        for row, result in now.results:
            place = (row.trial.number, result.kept.seed)
            if result.is_over and place not in seen:
                seen.add(place)
                if as_json:
                    print_record(
                        {
                            "sweep": sweep.id,
                            "trial": row.trial.number,
                            "seed": result.kept.seed,
                            "run": result.kept.run_id,
                            "values": row.trial.values,
                            "status": result.status,
                            "pruned": result.kept.pruned,
                            "epsilon": result.epsilon,
                            "metrics": result.metrics,
                        }
                    )
        line = _line(progress(store, now))
        if line != said and not as_json:
            print(line, flush=True)
        said = line
        for problem in {dispatcher.problem, conductor.problem} - told - {None}:
            told.add(problem)
            print(problem, file=sys.stderr)
        if now.sweep.state != "running" and now.sweep.settled:
            return now.sweep
        time.sleep(_EVERY)


def _line(now: Progress) -> str:
    left = "" if not now.seconds_left else f", about {now.seconds_left:,.0f} s left"
    parts = [
        f"{count} {word}"
        for count, word in ((now.failed, "failed"), (now.pruned, "ended early"), (now.refused, "refused"))
        if count
    ]
    return f"{now.done} of {now.total} runs ({now.share:.0%}){left}" + (f"; {', '.join(parts)}" if parts else "")


def list_sweeps(given: argparse.Namespace) -> int:
    """One line a sweep, newest first."""
    store = Store()
    sweeps = store.sweeps()
    if not sweeps:
        print("No sweeps yet. Begin one: python -m privlab sweep run FILE.toml")
    for sweep in sweeps:
        print(f"{sweep.id}  {sweep.state.value}  {_line(progress(store, standing(store, sweep.id)))}  {sweep.name}")
    return 0


def show_sweep(given: argparse.Namespace) -> int:
    """Everything about one sweep."""
    store = Store()
    now = standing(store, given.sweep)
    print(_plan(now.spec))
    print(_shown(store, now))
    return 0


def _shown(store: Store, now: Standing) -> str:
    lines = [
        f"Sweep {now.sweep.id}: {now.sweep.state.value}. {now.sweep.reason or ''}".rstrip(),
        _line(progress(store, now)),
    ]
    lines += [_row(now, row) for row in now.rows]
    for cost in search_costs(store, now):
        lines.append(
            f"Privacy on {cost.ledger.dataset}: all runs together ε = {cost.ledger.epsilon:.4g} at δ = {cost.ledger.delta}."
        )
        if cost.adaptive:
            bound = "no number" if cost.beforehand is None else f"ε = {cost.beforehand:.4g}"
            lines.append(f"That is not proved here, because {cost.adaptive}; {bound} was certain beforehand.")
        if cost.best is not None:
            lines.append(f"Only the best published, nothing of the others: ε = {cost.best:.4g}.")
        else:
            lines.append(f"Publishing only the best is not cheaper: {cost.no_best}.")
    lines.append(
        "Choosing by a score on test records is itself a selection: the best score overstates how well it does on new records."
    )
    return "\n".join(lines)


def _row(now: Standing, row: Row) -> str:
    told = METRICS[now.spec.metric]
    mean, spread = row.mean(told.key), row.spread(told.key)
    found = row.state if mean is None else f"{told.label.lower()} {told.show(mean)}"
    found += f" ± {told.show(spread)}" if spread is not None else ""
    found += f", ε = {row.epsilon:.4g}" if row.epsilon is not None else ""
    why = f": {row.trial.refused}" if row.trial.refused else ""
    return f"  {row.trial.number:>4}  {in_words(row.trial.values)}  {found}{why}"


def _acting(act):
    def command(given: argparse.Namespace) -> int:
        sweep = act(Store(), given.sweep)
        print(f"Sweep {sweep.id}: {sweep.state.value}.")
        return 0

    return command


def delete_sweep(given: argparse.Namespace) -> int:
    """Forget it; the runs stay."""
    control.delete(Store(), given.sweep)
    return 0


def extend_sweep(given: argparse.Namespace) -> int:
    """Longer by what was given."""
    more = {name: getattr(given, name) for name in ("trials", "seeds", "runs", "hours", "epsilon")}
    sweep = control.extend(Store(), given.sweep, **more)
    print(f"Sweep {sweep.id}: {sweep.state.value}.")
    return 0
