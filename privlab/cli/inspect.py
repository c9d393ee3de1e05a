"""``runs``, ``show`` and ``export``: what the store and the run's folder hold."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from privlab.cli.output import print_record, run_record, summary
from privlab.cli.passphrase import passphrase_for
from privlab.config import ConfigError
from privlab.runs.record import Run
from privlab.runs.store import Store


def list_runs(given: argparse.Namespace) -> int:
    """One line a run, newest first."""
    runs = Store().list()
    if given.json:
        for run in runs:
            print_record(run_record(run))
        return 0
    if not runs:
        print("No runs yet. Start one: python -m privlab train --preset digits")
    for run in runs:
        print(f"{summary(run)}  {run.name or '(no name)'}: {run.config.data.dataset}, {run.config.model.name}")
    return 0


def show_run(given: argparse.Namespace) -> int:
    """Result, privacy statement, settings and events of one run."""
    from privlab.reports import statement

    store = Store()
    run = store.get(given.run)
    said = statement(run)
    print(summary(run), "", said.headline, *(f"- {line}" for line in said.details), "", run.config.to_toml(), sep="\n")
    for event in store.events(run.id):
        print(f"- {event.message}")
    return 0


def export_run(given: argparse.Namespace) -> int:
    """Write a run's points, settings or unsealed weights to a file or to standard output."""
    from privlab.reports import points_csv, points_json, settings_toml

    store = Store()
    run = store.get(given.run)
    if given.what == "weights":
        if not given.out:
            raise ConfigError.at("--out", "weights are binary; name a file with --out.")
        content = _weights(run, given.passphrase_file)
    elif given.what == "toml":
        content = settings_toml(run).encode()
    else:
        write = {"csv": points_csv, "json": points_json}[given.what]
        content = write([(run, store.points(run.id))]).encode()
    if not given.out:
        sys.stdout.buffer.write(content)
        return 0
    try:
        given.out.write_bytes(content)
    except OSError as error:
        raise ConfigError.at("--out", f"{given.out} cannot be written: {error.strerror}.") from None
    return 0


def _weights(run: Run, passphrase_file: Path | None) -> bytes:
    """The run's weights, unsealed: a safetensors file."""
    from privlab.encryption import open_vault
    from privlab.runs.files import weights_path

    place = weights_path(run)
    if not place.exists():
        raise ConfigError.at("run", f"run {run.id} is {run.status} and has no weights yet.")
    passphrase = passphrase_for(run.config, passphrase_file, confirm=False)
    return open_vault(run.config.encryption, passphrase).read(place)
