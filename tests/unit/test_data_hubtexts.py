"""AG News and IMDB from a small hub on this machine: as published, counted, and the same at every fetch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privlab.data import checksums
from privlab.data.catalogue import DATASETS, availability, cache_file
from privlab.data.checksums import PARTS, first_seen
from privlab.data.fetch import FetchError, fetch
from privlab.data.texts import load_texts
from tests.fakehub import Hub, fake_hub

#: Two reviews stand twice, one of them in both parts; the published order is by class.
TRAIN = [("dull", 0), ("dull", 0), ("so so\0", 0), ("great", 1), ("fine", 1), ("good, é", 1)]
TEST = [("bad", 0), ("worse", 0), ("great", 1), ("lovely", 1)]
FILES = {"plain_text/train-00000-of-00001.parquet": TRAIN, "plain_text/test-00000-of-00001.parquet": TEST}


def parquet(rows: list[tuple], **columns) -> bytes:
    raw = io.BytesIO()
    texts, labels = zip(*rows, strict=True)
    pq.write_table(pa.table(columns or {"text": pa.array(texts), "label": pa.array(labels, pa.int64())}), raw)
    return raw.getvalue()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(DATASETS, "imdb", replace(DATASETS["imdb"], train_records=6, test_records=4))
    files = {name: parquet(rows) for name, rows in FILES.items()} | {
        "plain_text/unsupervised-0.parquet": b"not asked for"
    }
    with fake_hub(**{"datasets/stanfordnlp/imdb": files}) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


def change(hub: Hub, name: str, raw: bytes) -> None:
    hub.repos["datasets/stanfordnlp/imdb"] = {
        **hub.repos["datasets/stanfordnlp/imdb"],
        f"plain_text/{name}-00000-of-00001.parquet": raw,
    }


def test_records_are_as_published_and_the_classes_come_in_turn(hub: Hub) -> None:
    assert not availability("imdb").ready
    fetch("imdb")
    texts = load_texts("imdb")
    assert texts.train == ("dull", "great", "dull", "fine", "so so", "good, é"), "a text that stands twice stays"
    assert texts.train_y.tolist() == [0, 1, 0, 1, 0, 1]
    assert texts.test == ("bad", "great", "worse", "lovely"), "so does one in both parts"
    assert availability("imdb").ready and not [name for name in hub.asked if "unsupervised" in name]


def test_what_came_first_is_the_measure_of_what_comes_later(hub: Hub) -> None:
    assert first_seen("imdb") == {}
    fetch("imdb")
    seen = first_seen("imdb")
    assert set(seen) == set(PARTS) and "imdb" not in checksums.SHA256
    cache_file("imdb").unlink()
    fetch("imdb")
    cache_file("imdb").unlink()
    change(hub, "train", parquet([("other", 0), *TRAIN[1:]]))
    with pytest.raises(FetchError, match=r"wrong checksum: train_x of imdb .* the first fetch on this machine had"):
        fetch("imdb")
    assert first_seen("imdb") == seen and not availability("imdb").ready
    # What cannot be read is not taken for nothing.
    cache_file("imdb").with_name("first.json").write_text("{")
    with pytest.raises(FetchError, match="wrong checksum"):
        fetch("imdb")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (parquet(TRAIN[:-1]), "the training part has 5 records, published are 6"),
        (
            parquet([*TRAIN[:-1], ("bad", 0)]),
            r"the training part has \{0: 4, 1: 2\} records by class, published are 3 of each",
        ),
        (parquet([*TRAIN[:-1], ("bad", 2)]), r"\{0: 3, 1: 2, 2: 1\}"),
        (parquet(TRAIN, text=pa.array(["a"] * 6)), "holds no column of texts and of labels"),
        (
            parquet(TRAIN, text=pa.array(["a"] * 5 + [None]), label=pa.array([0, 0, 0, 1, 1, 1])),
            "without a text or a label",
        ),
        (b"no parquet", "holds no column of texts and of labels"),
    ],
    ids=["fewer", "other counts", "another class", "no labels", "a gap", "damaged"],
)
def test_what_is_not_as_published_is_refused_and_not_remembered(hub: Hub, raw: bytes, said: str) -> None:
    change(hub, "train", raw)
    with pytest.raises(FetchError, match=f"IMDB: liked or not could not be fetched.*{said}"):
        fetch("imdb")
    assert first_seen("imdb") == {}


def test_a_hub_that_cannot_be_reached_is_said_in_words(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        FetchError, match=r"The hub http://127.0.0.1:9 cannot be reached.*everything else works without it"
    ):
        fetch("ag-news")


@pytest.mark.parametrize(
    ("key", "train", "test", "classes"), [("ag-news", 120_000, 7600, 4), ("imdb", 25_000, 25_000, 2)]
)
def test_the_published_counts_are_the_stated_experiment(key: str, train: int, test: int, classes: int) -> None:
    facts = DATASETS[key]
    assert (facts.train_records, facts.test_records, facts.classes) == (train, test, classes)
    assert (
        "Repeats are kept" in facts.about
        and "No checksum is known" in facts.about
        and facts.licence.startswith("none stated")
    )
