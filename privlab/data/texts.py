"""Texts in memory. Nothing is counted or chosen by looking at them: no vocabulary, no cleaning but by fixed rules."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from privlab.data.catalogue import DATASETS, DatasetFacts, availability, cache_file
from privlab.data.fetch import EMBEDDED, FetchError, read
from privlab.data.load import DataMissing
from privlab.data.packing import split, unpacked

_MESSAGES = "sms-spam.tsv.gz"


@dataclass(frozen=True, eq=False)
class Texts:
    """A whole data set of texts.

    Attributes:
        facts: of the data set as catalogued.
        train, test: one text a record.
        train_y, test_y: int64 labels, (records,), each in 0 … classes - 1; None for a language task.
        train_users: whose each training text is, int64 (records,), numbered from 0; None where that is not known. No user has
            test texts, too.
    """

    facts: DatasetFacts
    train: tuple[str, ...]
    train_y: Tensor | None
    test: tuple[str, ...]
    test_y: Tensor | None
    train_users: Tensor | None = None


def load_texts(key: str) -> Texts:
    """Texts of data set ``key``. Never uses the network.

    No text stands in both parts, nor twice in one, but in AG News and IMDB, which are as they were published.

    Raises:
        KeyError: no data set of texts has this key.
        DataMissing: not fetched yet, or its file is damaged.
    """
    facts = DATASETS[key]
    if facts.kind != "text":
        raise KeyError(key)
    return _messages(facts) if facts.embedded else _fetched(facts)


def _messages(facts: DatasetFacts) -> Texts:
    """The text messages that come with PrivLab: label (1 for spam) and text of each in a line."""
    lines = gzip.decompress((EMBEDDED / _MESSAGES).read_bytes()).decode("utf-8").splitlines()
    labels, texts = zip(*(line.split("\t", 1) for line in lines), strict=True)
    train, test = split(len(texts))

    def classes(places: list[int]) -> Tensor | None:
        return torch.tensor([int(labels[i]) for i in places]) if facts.task == "classify" else None

    return Texts(facts, tuple(texts[i] for i in train), classes(train), tuple(texts[i] for i in test), classes(test))


def _fetched(facts: DatasetFacts) -> Texts:
    if not (found := availability(facts.key)).ready:
        raise DataMissing(found.message)
    try:
        arrays = read(cache_file(facts.key))
        texts = {part: unpacked(arrays[f"{part}_x"]) for part in ("train", "test")}
        users = torch.from_numpy(arrays["train_u"].astype(np.int64)) if facts.users else None
    except (FetchError, OSError, ValueError, KeyError) as error:
        raise DataMissing(
            f"{facts.title} cannot be loaded ({error}): run “python -m privlab data fetch {facts.key}”, which repairs it."
        ) from error
    train_y, test_y = (
        torch.from_numpy(arrays[part].astype(np.int64)) if facts.task == "classify" else None
        for part in ("train_y", "test_y")
    )
    return Texts(facts, texts["train"], train_y, texts["test"], test_y, users)
