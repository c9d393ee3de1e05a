"""Text data sets of the Hugging Face hub, as parquet, with their published split.

No checksum of them is known to PrivLab. What comes must have the published numbers of records and classes, and its SHA-256 is kept
at the first fetch, which every later one must equal (:mod:`privlab.data.checksums`). Nothing is left out, so that sizes and results
are those of the literature: a text may stand twice, and in both parts. Records are taken from the classes in turn, so that the first
ones of a part are a fair sample where the published order is by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np

from privlab.data.catalogue import DATASETS
from privlab.data.client import Report, SourceFailed
from privlab.data.hub import HubRepo, download, listing
from privlab.data.packing import packed
from privlab.data.sources import Arrays, Source


@dataclass(frozen=True)
class HubTexts:
    """Where a data set lies on the hub: ``repo``, and patterns of the parquet files of each part, with columns text and label."""

    repo: str
    train: str
    test: str


HUB_TEXTS = {
    "ag-news": HubTexts("fancyzhx/ag_news", "data/train-*.parquet", "data/test-*.parquet"),
    "imdb": HubTexts("stanfordnlp/imdb", "plain_text/train-*.parquet", "plain_text/test-*.parquet"),
}


def _get(key: str, folder: Path, report: Report) -> Arrays:
    place, facts = HUB_TEXTS[key], DATASETS[key]
    found = listing(HubRepo(place.repo, "dataset", "main"), folder, report)
    named = {
        part: sorted(name for name in found.sizes if fnmatchcase(name, pattern))
        for part, pattern in (("train", place.train), ("test", place.test))
    }
    for part, names in named.items():
        if not names:
            raise SourceFailed(f"{place.repo} has no file {getattr(place, part)}")
    download(HubRepo(place.repo, "dataset", found.commit), [*named["train"], *named["test"]], folder, report)
    arrays = {}
    for part, records in (("train", facts.train_records), ("test", facts.test_records)):
        texts, labels = _read([folder / name for name in named[part]])
        _check(part, labels, records, facts.classes)
        order = _in_turn(labels, facts.classes)
        arrays[f"{part}_x"] = packed(texts[i].replace("\0", "") for i in order)
        arrays[f"{part}_y"] = labels[order].astype(np.uint8)
    return arrays


def _read(files: Sequence[Path]) -> tuple[list[str], np.ndarray]:
    """Texts and their labels, in file order."""
    # Comes with Streamlit.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        tables = [pq.read_table(file, columns=["text", "label"]) for file in files]
        table = pa.concat_tables(tables).cast(pa.schema({"text": pa.string(), "label": pa.int64()}))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise SourceFailed(f"{files[0].name} holds no column of texts and of labels ({error})") from error
    if table["text"].null_count or table["label"].null_count:
        raise SourceFailed(f"{files[0].name} has records without a text or a label")
    return table["text"].to_pylist(), table["label"].to_numpy()


def _check(part: str, labels: np.ndarray, records: int, classes: int) -> None:
    """Every class has as many records in both of these data sets."""
    if len(labels) != records:
        raise SourceFailed(f"the {part}ing part has {len(labels):,} records, published are {records:,}")
    counts = dict(zip(*(each.tolist() for each in np.unique(labels, return_counts=True)), strict=True))
    if counts != dict.fromkeys(range(classes), records // classes):
        raise SourceFailed(
            f"the {part}ing part has {counts} records by class, published are {records // classes:,} of each"
        )


def _in_turn(labels: np.ndarray, classes: int) -> np.ndarray:
    """Places of the records: the first of each class, the second of each, and so on."""
    return np.stack([np.flatnonzero(labels == label) for label in range(classes)], axis=1).ravel()


HUB_SOURCES: dict[str, tuple[Source, ...]] = {
    key: (Source("Hugging Face hub", partial(_get, key)),) for key in HUB_TEXTS
}
