"""``import``: take in a run that was trained elsewhere."""

from __future__ import annotations

import argparse

from privlab.config import ConfigError
from privlab.runs.store import Store


def import_run(given: argparse.Namespace) -> int:
    """Check a bundle, store its run as imported and say what it claims here."""
    from privlab.reports import claim
    from privlab.reports.importing import ImportRefused, import_bundle
    from privlab.runs.ledger import ledger

    try:
        content = given.bundle.read_bytes()
    except OSError as error:
        raise ConfigError.at("bundle", f"{given.bundle} cannot be read: {error.strerror}.") from None
    store = Store()
    try:
        run = import_bundle(store, content)
    except ImportRefused as error:
        raise ConfigError.at("bundle", f"{error} Nothing was imported.") from None
    said = claim(run, store.events(run.id), ledger(store, run.config.data.dataset))
    print(f"Imported as run {run.id} ({run.name or 'no name'}), trained elsewhere as {run.origin}.")
    print(f"Claim: {said.verdict}. {said.headline}")
    return 0
