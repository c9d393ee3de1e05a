"""The same library from a shell: ``python -m privlab COMMAND``: ``train``, ``sweep``, ``cost``, ``decompose``, ``runs``, ``show``, ``write``,
``export``, ``import``, ``verify``, ``epsilon``, ``noise``, ``data``, ``keys``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from privlab import __version__
from privlab.analysis.decomposition import STEPS
from privlab.cli.budget import add_budget_commands
from privlab.cli.cost import measure_cost
from privlab.cli.data import add_data_commands
from privlab.cli.decompose import decompose_run
from privlab.cli.importing import import_run
from privlab.cli.inspect import KINDS, export_run, list_runs, show_run
from privlab.cli.keys import add_key_commands
from privlab.cli.sweep import add_sweep_commands
from privlab.cli.tracking import export_mlflow
from privlab.cli.training import train_run
from privlab.cli.verify import verify_bundle
from privlab.cli.write import add_write_command
from privlab.config import ConfigError, preset_names
from privlab.data.fetch import FetchError
from privlab.encryption import SealError
from privlab.metrics import METRICS
from privlab.runs.control import RunActionError
from privlab.runs.store import StoreError

#: Errors that a person can do something about: shown as a sentence, never as a trace.
PLAIN = (ConfigError, FetchError, RunActionError, SealError, StoreError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 refused or failed, 130 interrupted, 141 nobody reads on."""
    given = _parser().parse_args(arguments)
    try:
        status = given.act(given)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        for problem in error.problems:
            print(f"{problem.path}: {problem.message}", file=sys.stderr)
    except PLAIN as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # What is read by “head” has an end; Python would say so once more when it writes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m privlab", description="Differentially private training, from a shell."
    )
    parser.add_argument("--version", action="version", version=f"PrivLab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    train = commands.add_parser("train", help="train one run here, with a progress bar; the browser sees it too")
    start = _add_settings(train)
    start.add_argument("--resume", metavar="RUN", help="go on with a paused, stopped or failed run")
    train.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="passphrase of a sealed run; else it is asked"
    )
    train.add_argument("--json", action="store_true", help="one JSON object a line: the plan, then every point")
    train.set_defaults(act=train_run)

    cost = commands.add_parser("cost", help="measure what a step costs here, by each gradient method: time and memory")
    _add_settings(cost)
    cost.add_argument("--again", action="store_true", help="also where it was measured before on this machine")
    cost.add_argument("--json", action="store_true", help="one JSON object a line, for each method")
    cost.set_defaults(act=measure_cost)

    apart = commands.add_parser(
        "decompose", help="what privacy costs, step by step: five trainings from plain to private, over several seeds"
    )
    apart.add_argument("preset", nargs="?", metavar="PRESET", help=f"one of {', '.join(preset_names())}")
    _add_changes(apart)
    apart.add_argument(
        "--config", metavar="FILE.toml", type=Path, help="settings from a file, in the place of a preset"
    )
    apart.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="repeats of each training (default: %(default)s)"
    )
    apart.add_argument(
        "--learning-rate", action="append", default=[], metavar="TRAINING=RATE",
        help=f"for one training, where the preset's does not suit it: plain=0.05; trainings: {', '.join(STEPS)}",
    )  # fmt: skip
    apart.add_argument(
        "--metric", choices=sorted(METRICS), default="test_accuracy", metavar="KEY", help="default: %(default)s"
    )
    apart.add_argument("--out", type=Path, metavar="FILE.html", help="also write the chart")
    apart.add_argument("--json", action="store_true", help="one JSON object a line")
    apart.set_defaults(act=decompose_run)

    runs = commands.add_parser("runs", help="list runs, newest first")
    runs.add_argument("--json", action="store_true", help="one JSON object a line")
    runs.set_defaults(act=list_runs)

    show = commands.add_parser("show", help="one run: privacy claim, settings and events")
    show.add_argument("run")
    show.set_defaults(act=show_run)

    add_write_command(commands)

    export = commands.add_parser("export", help="a run's points, settings, claim, report, script, bundle or weights")
    export.add_argument("run")
    export.add_argument("--what", choices=KINDS, default="csv")
    export.add_argument(
        "--out", type=Path, metavar="FILE", help="default: standard output (what is binary needs a file)"
    )
    export.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="passphrase of a sealed run; else it is asked"
    )
    export.set_defaults(act=export_run)

    bring = commands.add_parser("import", help="check a bundle and show its run here, marked as imported")
    bring.add_argument("bundle", type=Path, metavar="BUNDLE.zip")
    bring.set_defaults(act=import_run)

    track = commands.add_parser("export-mlflow", help="send runs to the MLflow server of MLFLOW_TRACKING_URI")
    track.add_argument("run", nargs="+")
    track.add_argument(
        "--private", action="store_true", help="also private diagnostics and timings, which no guarantee covers"
    )
    track.set_defaults(act=export_mlflow)

    check = commands.add_parser(
        "verify", help="check a bundle: hashes, plan, and ε by every accountant; needs no network"
    )
    check.add_argument("bundle", type=Path, metavar="BUNDLE.zip")
    check.add_argument(
        "--prv-seconds", type=float, default=30.0, metavar="S", help="0 does not ask Opacus's PRV accountant"
    )
    check.set_defaults(act=verify_bundle)

    add_sweep_commands(commands)
    add_budget_commands(commands)
    add_key_commands(commands)

    add_data_commands(commands)
    return parser


def _add_settings(command: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """The ways to say which settings; the group of those that begin from something."""
    start = command.add_mutually_exclusive_group(required=True)
    start.add_argument("--preset", metavar="NAME", help=f"one of {', '.join(preset_names())}")
    start.add_argument("--config", metavar="FILE.toml", type=Path, help="settings from a file")
    _add_changes(command)
    return start


def _add_changes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change one setting: privacy.max_grad_norm=0.5"
    )
