"""``export-mlflow``: send runs to the MLflow server that the environment names."""

from __future__ import annotations

import argparse
import sys

from privlab.runs.store import Store


def export_mlflow(given: argparse.Namespace) -> int:
    """Send each run; what fails is told, and the others are sent all the same."""
    from privlab.reports.tracking import TrackingFailed, client, send, tracking
    from privlab.runs.ledger import ledger

    store = Store()
    runs = [store.get(run_id) for run_id in given.run]
    failed = 0
    try:
        server = client()
        for run in runs:
            events, known = store.events(run.id), ledger(store, run.config.data.dataset)
            try:
                sent = send(server, run, store.points(run.id), events, known, private=given.private)
                print(f"Run {run.id} is run {sent} at {tracking()}")
            except TrackingFailed as error:
                failed += 1
                print(error, file=sys.stderr)
    except TrackingFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 1 if failed else 0
