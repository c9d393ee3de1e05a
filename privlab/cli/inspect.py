"""``runs``, ``show`` and ``export``: what the store and the run's folder hold."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from privlab.cli.output import print_record, run_record, summary
from privlab.cli.passphrase import passphrase_for
from privlab.config import ConfigError
from privlab.metrics import Point
from privlab.runs.record import Run, RunEvent
from privlab.runs.store import Store

#: What ``export`` writes.
KINDS = (
    *("csv", "parquet", "json", "toml", "claim-md", "claim-json", "bundle", "weights"),
    *("report", "pdf", "script", "notebook"),
)
#: What a terminal cannot show.
_BINARY = ("parquet", "bundle", "weights", "pdf")


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
    """Result, privacy claim, settings and events of one run."""
    from privlab.reports import claim
    from privlab.runs.ledger import ledger

    store = Store()
    run = store.get(given.run)
    events = store.events(run.id)
    said = claim(run, events, ledger(store, run.config.data.dataset))
    print(
        summary(run),
        "",
        f"Claim: {said.verdict}. {said.headline}",
        *(f"- {reason}" for reason in said.reasons),
        sep="\n",
    )
    print("", *(f"{field.label}: {field.value}" for field in said.fields), "", run.config.to_toml(), sep="\n")
    for event in events:
        print(f"- {event.message}")
    return 0


def export_run(given: argparse.Namespace) -> int:
    """Write a run's points, settings, claim, report, script, bundle or unsealed weights to a file or to standard output."""

    store = Store()
    run = store.get(given.run)
    if given.what in _BINARY and not given.out:
        raise ConfigError.at("--out", f"{given.what} is binary; name a file with --out.")
    content = _weights(run, given.passphrase_file) if given.what == "weights" else _content(store, run, given.what)
    if not given.out:
        sys.stdout.buffer.write(content)
        return 0
    try:
        given.out.write_bytes(content)
    except OSError as error:
        raise ConfigError.at("--out", f"{given.out} cannot be written: {error.strerror}.") from None
    return 0


def _content(store: Store, run: Run, what: str) -> bytes:
    from privlab import reports
    from privlab.runs.ledger import ledger

    if what == "toml":
        return reports.settings_toml(run).encode()
    events, points = store.events(run.id), store.points(run.id)
    if what == "csv":
        return reports.points_csv([(run, points)]).encode()
    if what == "json":
        return reports.points_json([(run, points)], {run.id: events}).encode()
    if what == "parquet":
        return reports.points_parquet([(run, points)])
    if what in ("script", "notebook"):
        return _program(run, points, events, what)
    if what in ("report", "pdf"):
        return _report(store, run, what)
    known = ledger(store, run.config.data.dataset)
    if what == "bundle":
        return reports.bundle(run, points, events, known)
    write = {"claim-md": reports.claim_markdown, "claim-json": reports.claim_json}[what]
    return write(reports.claim(run, events, known)).encode()


def _report(store: Store, run: Run, what: str) -> bytes:
    from privlab.reports.pdf import PdfFailed, to_pdf
    from privlab.ui.report import report

    page = report(store, [run])
    try:
        return to_pdf(page) if what == "pdf" else page.encode()
    except PdfFailed as error:
        raise ConfigError.at("--what", str(error)) from None


def _program(run: Run, points: list[Point], events: list[RunEvent], what: str) -> bytes:
    """Script or notebook; a zip with the inputs beside it where no public source has the run's records."""
    from privlab.reports.program.files import notebook_file, script_file
    from privlab.reports.program.script import NotExpressible
    from privlab.runs.inputfile import InputsMissing

    try:
        name, content = script_file(run, events) if what == "script" else notebook_file(run, events, points)
    except (NotExpressible, InputsMissing) as error:
        raise ConfigError.at("run", str(error)) from None
    if name.endswith(".zip"):
        print("A zip: no public source has these records, so the inputs lie beside the program.", file=sys.stderr)
    return content


def _weights(run: Run, passphrase_file: Path | None) -> bytes:
    """The run's weights, unsealed: a safetensors file."""
    from privlab.encryption import open_vault
    from privlab.runs.files import weights_path

    place = weights_path(run)
    if not place.exists():
        raise ConfigError.at("run", f"run {run.id} is {run.status} and has no weights yet.")
    passphrase = passphrase_for(run.config, passphrase_file, confirm=False)
    return open_vault(run.config.encryption, passphrase).read(place)
