from __future__ import annotations

import socket

import numpy as np
import pytest
import torch

from privlab.data import catalogue, load, sources
from privlab.data.catalogue import DATASETS, cache_file
from privlab.data.load import DataMissing

#: Arrays of a data set of pictures.
PARTS = ("train_x", "train_y", "test_x", "test_y")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    for module in (catalogue, sources):
        monkeypatch.setattr(module, "DEBIAN_FASHION", tmp_path / "not-installed")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("key", [key for key, facts in DATASETS.items() if facts.embedded and facts.kind != "text"])
def test_embedded_data_loads_offline_as_catalogued(key, no_network):
    data = load.load(key)
    facts = data.facts
    assert data.train_x.shape == (facts.train_records, *facts.shape)
    assert data.test_x.shape == (facts.test_records, *facts.shape)
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert x.dtype == torch.float32 and y.dtype == torch.int64 and y.shape == (len(x),)
        assert x.min() == 0 and x.max() == 1
        assert set(y.unique().tolist()) == set(range(facts.classes))


def test_adult_has_the_documented_share_of_high_incomes():
    data = load.load("adult")
    # UCI's documentation: 24.08 % of the training records and 23.62 % of the test records earn more.
    assert data.train_y.sum() == 7841
    assert data.test_y.sum() == 3846


def test_digits_training_and_test_pictures_are_all_of_the_data():
    data = load.load("digits")
    assert len(data.train_x) + len(data.test_x) == 1797
    counts = data.test_y.bincount()
    assert counts.min() >= 34 and counts.max() <= 36


def test_scaling_uses_constants_not_statistics(tmp_path):
    """A darker data set stays darker: no maximum of the records enters the scale."""
    make_file("mnist", largest=51)
    assert load.load("mnist").train_x.max() == pytest.approx(0.2)


def test_a_fetched_file_is_loaded_as_pictures():
    make_file("mnist", largest=255)
    data = load.load("mnist")
    assert data.train_x.shape == (8, 1, 28, 28) and data.train_x.dtype == torch.float32
    assert data.train_y.tolist() == list(range(8))


def test_missing_data_says_how_to_get_it():
    with pytest.raises(DataMissing, match="python -m privlab data fetch cifar10"):
        load.load("cifar10")


def test_a_damaged_file_is_refused_in_plain_words():
    path = make_file("mnist", largest=255)
    raw = bytearray(path.read_bytes())
    raw[3000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataMissing, match=r"MNIST cannot be loaded: .*damaged"):
        load.load("mnist")


def make_file(key: str, largest: int):
    path = cache_file(key)
    path.parent.mkdir(parents=True)
    pixels = np.full((8, *DATASETS[key].shape), largest, np.uint8)
    labels = np.arange(8, dtype=np.uint8)
    np.savez(path, **dict(zip(PARTS, (pixels, labels, pixels, labels), strict=True)))
    return path
