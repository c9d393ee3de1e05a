"""``data``: which data sets and weights there are, and fetching one."""

from __future__ import annotations

import argparse

from privlab import paths
from privlab.data.catalogue import DATASETS, availability
from privlab.data.fetch import FetchError, fetch
from privlab.data.weights import WEIGHTS, fetch_weights, weights_folder, weights_missing, weights_ready


def list_data(_: argparse.Namespace) -> int:
    """Every data set, its size and whether it is here; then the weights that models start from."""
    for key, facts in DATASETS.items():
        print(f"{key:18} {facts.train_records:>7,} + {facts.test_records:>6,} records  {availability(key).message}")
    for key, weights in WEIGHTS.items():
        where = f"{weights.title} is in {weights_folder(key)}." if weights_ready(key) else weights_missing(key)
        print(f"{key:18} {'weights':>24}  {where}")
    print(f"Fetched data sets and weights are kept in {paths.data_dir()}")
    return 0


def fetch_data(given: argparse.Namespace) -> int:
    """Fetch one data set or the weights of a model, with a progress bar."""
    from tqdm import tqdm

    known = {**dict.fromkeys(DATASETS, fetch), **dict.fromkeys(WEIGHTS, fetch_weights)}
    if given.key not in known:
        raise FetchError(f"There is nothing “{given.key}” to fetch; choose one of {', '.join(known)}.")
    with tqdm(unit="B", unit_scale=True, dynamic_ncols=True) as bar:

        def progress(done: int, total: int | None, what: str) -> None:
            bar.total, bar.n = total, done
            bar.set_description_str(what)

        place = known[given.key](given.key, progress)
    print(f"{given.key}: {place}")
    return 0
