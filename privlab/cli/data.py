"""``data``: which data sets there are, and fetching one."""

from __future__ import annotations

import argparse

from privlab import paths
from privlab.data.catalogue import DATASETS, availability
from privlab.data.fetch import fetch


def list_data(_: argparse.Namespace) -> int:
    """Every data set, its size and whether it is here."""
    for key, facts in DATASETS.items():
        print(f"{key:18} {facts.train_records:>7,} + {facts.test_records:>6,} records  {availability(key).message}")
    print(f"Fetched data sets are kept in {paths.data_dir()}")
    return 0


def fetch_data(given: argparse.Namespace) -> int:
    """Fetch one data set, with a progress bar."""
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, dynamic_ncols=True) as bar:

        def progress(done: int, total: int | None, what: str) -> None:
            bar.total, bar.n = total, done
            bar.set_description_str(what)

        place = fetch(given.key, progress)
    print(f"{given.key}: {place}")
    return 0
