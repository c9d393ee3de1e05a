"""Texts come whole, split once and for all, and the same text never on both sides."""

from __future__ import annotations

import pytest

from privlab.data.catalogue import DATASETS
from privlab.data.texts import load_texts

KEYS = [key for key, facts in DATASETS.items() if facts.kind == "text" and facts.embedded]


@pytest.mark.parametrize("key", KEYS)
def test_as_many_as_the_catalogue_says(key: str) -> None:
    facts, texts = DATASETS[key], load_texts(key)
    assert (len(texts.train), len(texts.test)) == (facts.train_records, facts.test_records)
    assert all(texts.train) and all(texts.test)
    assert len({*texts.train, *texts.test}) == len(texts.train) + len(texts.test), "no text twice"


def test_labels_are_those_of_the_messages() -> None:
    texts = load_texts("sms-spam")
    assert len(texts.train_y) == len(texts.train) and len(texts.test_y) == len(texts.test)
    assert int(texts.train_y.sum() + texts.test_y.sum()) == 642
    first = [i for i, text in enumerate(texts.train) if text.startswith("Free entry in 2 a wkly comp")]
    assert texts.train_y[first].tolist() == [1]


def test_a_language_task_has_no_labels_and_the_same_messages() -> None:
    labelled, language = load_texts("sms-spam"), load_texts("sms-messages")
    assert language.train_y is None and language.test_y is None
    assert (language.train, language.test) == (labelled.train, labelled.test)
    assert not any("&lt;" in text or "\n" in text for text in language.train)


def test_pictures_are_no_texts() -> None:
    with pytest.raises(KeyError):
        load_texts("digits")
