from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from privlab.data import catalogue
from privlab.data.catalogue import DATASETS, availability, cache_file
from privlab.data.references import REFERENCES, references

KEYS = (
    *("digits", "fashion-mnist-6k", "fashion-mnist", "mnist", "cifar10", "adult"),
    *("sms-spam", "sms-messages", "movie-sentiment", "ag-news", "imdb", "shakespeare", "emails"),
)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(catalogue, "DEBIAN_FASHION", tmp_path / "not-installed")


def test_the_catalogue_names_every_data_set():
    assert tuple(DATASETS) == KEYS


@pytest.mark.parametrize("facts", DATASETS.values(), ids=DATASETS)
def test_facts_agree_with_each_other(facts):
    assert facts.classes == len(facts.labels) == len(set(facts.labels))
    assert len(facts.shape) == {"image": 3, "table": 1, "text": 0}[facts.kind]
    assert (facts.task == "language") == (facts.classes == 0)
    assert facts.embedded == (facts.download_bytes == 0)
    assert facts.licence and facts.source and facts.about
    with pytest.raises(dataclasses.FrozenInstanceError):
        facts.train_records = 1


@pytest.mark.parametrize("key", KEYS)
def test_only_embedded_data_is_ready_on_a_fresh_machine(key):
    found = availability(key)
    assert found.ready == DATASETS[key].embedded
    if not found.ready:
        assert found.where == ""
        assert f"python -m privlab data fetch {key}" in found.message


def test_a_fetched_file_is_found():
    cache_file("mnist").parent.mkdir(parents=True)
    cache_file("mnist").touch()
    found = availability("mnist")
    assert found.ready and found.where == str(cache_file("mnist"))


def test_debians_package_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "DEBIAN_FASHION", tmp_path)
    found = availability("fashion-mnist")
    assert found.ready and found.where == str(tmp_path)
    assert not availability("mnist").ready


def test_references_are_published_results_of_known_data():
    assert set(REFERENCES) <= set(DATASETS)
    for mark in (mark for marks in REFERENCES.values() for mark in marks):
        assert 0 < mark.epsilon <= 8 and 0.5 < mark.accuracy < 1 and 0 < mark.delta <= 1e-5
        assert mark.label and mark.source


def test_the_benchmarks_reference_is_there():
    scatter = [mark for mark in references("fashion-mnist") if "ScatterNet + linear" in mark.label]
    assert [(mark.epsilon, mark.accuracy) for mark in scatter] == [(3.0, 0.897)]


def test_a_subset_has_no_published_results():
    assert references("fashion-mnist-6k") == ()


def test_the_web_process_can_read_all_this_without_torch():
    modules = (
        "privlab.data.catalogue, privlab.data.references, privlab.data.fetch, privlab.data.cache, privlab.data.sources, "
        "privlab.models.catalogue, privlab.models.sizes"
    )
    heavy = "{'torch', 'sklearn', 'kymatio', 'streamlit'}"
    code = f"import sys, {modules}; sys.exit(' '.join({heavy} & set(sys.modules)) or None)"
    subprocess.run([sys.executable, "-c", code], check=True)
