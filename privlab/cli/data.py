"""``data``: which data sets and weights there are, fetching one, and bringing a pretrained model of one's own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from privlab import paths
from privlab.data import own
from privlab.data.cache import Progress
from privlab.data.catalogue import DATASETS, availability
from privlab.data.fetch import FetchError, fetch
from privlab.data.weights import WEIGHTS, fetch_weights, weights_folder, weights_missing, weights_ready
from privlab.models.catalogue import MODELS
from privlab.models.own import add


def add_data_commands(commands: argparse._SubParsersAction) -> None:
    data = commands.add_parser("data", help="data sets, weights and models of your own").add_subparsers(
        required=True, metavar="command"
    )
    data.add_parser("list", help="what there is and whether it is here").set_defaults(act=list_data)
    get = data.add_parser("fetch", help="fetch a data set, or the weights of a model, into PrivLab's folder, verified")
    get.add_argument("key", metavar="NAME", help=f"one of {', '.join((*DATASETS, *WEIGHTS))}")
    get.set_defaults(act=fetch_data)
    bring = data.add_parser("add-model", help="bring a pretrained transformer: from a folder or the Hugging Face hub")
    bring.add_argument("source", metavar="FOLDER_OR_HUB_NAME", help="a folder, or a name such as prajjwal1/bert-tiny")
    bring.add_argument(
        "--revision", default="", help="branch, tag or commit on the hub; its default branch if left out"
    )
    bring.add_argument("--name", default="", help="what to call it; else as the folder or the hub does")
    bring.set_defaults(act=add_model)
    drop = data.add_parser("remove-model", help="remove a model that was brought; where it came from is remembered")
    drop.add_argument("key", metavar="KEY", help="as data list shows it: own-…")
    drop.set_defaults(act=remove_model)


def list_data(_: argparse.Namespace) -> int:
    """Every data set, its size and whether it is here; then the weights that models start from, and the models of one's own."""
    for key, facts in DATASETS.items():
        print(f"{key:18} {facts.train_records:>7,} + {facts.test_records:>6,} records  {availability(key).message}")
    for key, weights in WEIGHTS.items():
        where = f"{weights.title} is in {weights_folder(key)}." if weights_ready(key) else weights_missing(key)
        print(f"{key:18} {'weights':>24}  {where}")
    for key, added in own.added().items():
        # One that another version of PrivLab took may be none that this one takes.
        title = MODELS[key].title if key in MODELS else f"{added.name}, which this version of PrivLab does not take"
        print(f"{key:43}  {title}, from {added.origin}")
    print(f"Fetched data sets and weights are kept in {paths.data_dir()}")
    return 0


def fetch_data(given: argparse.Namespace) -> int:
    """Fetch one data set or the weights of a model, with a progress bar."""
    known: dict[str, Callable] = {**dict.fromkeys(DATASETS, fetch), **dict.fromkeys(WEIGHTS, fetch_weights)}
    if given.key not in known:
        raise FetchError(f"There is nothing “{given.key}” to fetch; choose one of {', '.join(known)}.")
    with _bar() as progress:
        place = known[given.key](given.key, progress)
    print(f"{given.key}: {place}")
    return 0


def add_model(given: argparse.Namespace) -> int:
    """Copy a pretrained transformer into PrivLab's folder and say how to train it."""
    with _bar() as progress:
        key = add(given.source, revision=given.revision, name=given.name, progress=progress)
    facts = MODELS[key]
    print(f"{key}: {facts.title}. {facts.about}")
    preset = "spam-bert" if facts.task == "classify" else "memorise"
    print(f"Train it: python -m privlab train --preset {preset} --set model.name={key}")
    return 0


def remove_model(given: argparse.Namespace) -> int:
    """Remove a model of one's own."""
    removed = own.remove(given.key)
    print(
        f"{given.key} is removed. Runs that began from it need it to go on or to write: it came from {removed.origin}."
    )
    return 0


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar of bytes."""
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, dynamic_ncols=True, leave=False) as bar:

        def progress(done: int, total: int | None, what: str) -> None:
            bar.total, bar.n = total, done
            bar.set_description_str(what)

        yield progress
