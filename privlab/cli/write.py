"""``write``: go on with a text by a run's language model."""

from __future__ import annotations

import argparse
from pathlib import Path

from privlab.cli.output import print_record
from privlab.cli.passphrase import passphrase_for
from privlab.config.knobs import knob_of
from privlab.config.writing import WritingConfig
from privlab.runs.store import Store
from privlab.runs.writing import state_of


def add_write_command(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("write", help="go on with a text by a run's language model")
    command.add_argument("run")
    # Left out unless given, so that the defaults are declared once. Numbers are read by the declaration, which names the bounds.
    for name in WritingConfig.model_fields:
        command.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=_help(name))
    command.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="passphrase of a sealed run; else it is asked"
    )
    command.add_argument("--json", action="store_true", help="one JSON object a line, for each piece of text")
    command.set_defaults(act=write_text)


def _help(name: str) -> str:
    return knob_of(WritingConfig, name).help.replace("%", "%%")


def write_text(given: argparse.Namespace) -> int:
    """Print the beginning and what the model makes of it, as it comes. Raises ConfigError, SealError, StoreError."""
    asked = WritingConfig.from_dict({k: v for k, v in vars(given).items() if k in WritingConfig.model_fields})
    run = Store().get(given.run)
    state = state_of(run, passphrase_for(run.config, given.passphrase_file, confirm=False))
    # Slow to import, and only after what can be refused at once.
    from privlab.training.writing import write

    pieces = write(run.config, state, asked)
    if given.json:
        for piece in pieces:
            print_record({"text": piece})
        return 0
    print(asked.prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
    return 0
