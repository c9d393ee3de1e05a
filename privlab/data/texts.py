"""Texts in memory. Nothing is counted or chosen by looking at them: no vocabulary, no cleaning but by fixed rules."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import torch
from torch import Tensor

from privlab.data.catalogue import DATASETS, DatasetFacts
from privlab.data.fetch import EMBEDDED

#: Every fifth text, counted in file order, is a test text.
_EVERY = 5
_MESSAGES = "sms-spam.tsv.gz"


@dataclass(frozen=True, eq=False)
class Texts:
    """A whole data set of texts.

    Attributes:
        facts: of the data set as catalogued.
        train, test: one text a record.
        train_y, test_y: int64 labels, (records,), each in 0 … classes - 1; None for a language task.
    """

    facts: DatasetFacts
    train: tuple[str, ...]
    train_y: Tensor | None
    test: tuple[str, ...]
    test_y: Tensor | None


def load_texts(key: str) -> Texts:
    """Texts of data set ``key``. Never uses the network. No text stands in both parts, nor twice in one.

    Raises:
        KeyError: no data set of texts has this key.
    """
    facts = DATASETS[key]
    if facts.kind != "text":
        raise KeyError(key)
    labels, texts = _messages()
    test = [i for i in range(len(texts)) if i % _EVERY == _EVERY - 1]
    train = [i for i in range(len(texts)) if i % _EVERY != _EVERY - 1]

    def classes(places: list[int]) -> Tensor | None:
        return torch.tensor([labels[i] for i in places]) if facts.task == "classify" else None

    def those(places: list[int]) -> tuple[str, ...]:
        return tuple(texts[i] for i in places)

    return Texts(facts, those(train), classes(train), those(test), classes(test))


def _messages() -> tuple[list[int], list[str]]:
    """Label (1 for spam) and text of each message."""
    lines = gzip.decompress((EMBEDDED / _MESSAGES).read_bytes()).decode("utf-8").splitlines()
    rows = [line.split("\t", 1) for line in lines]
    return [int(label) for label, _ in rows], [text for _, text in rows]
